// SPDX-License-Identifier: MIT
#include "qemu-plugin/ram_blocks.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "qemu-plugin/record_reader.h"

namespace ebb::plugin {
namespace {

// Identifies a memfd; inode numbers alone repeat between tmpfs and hugetlbfs.
struct FileId {
  dev_t device;
  uint64_t inode;

  bool operator==(const FileId&) const = default;
};

struct Mapping {
  uint64_t start;
  uint64_t end;
  uint64_t file_offset;
  FileId file;
};

// A line of maps that is guest RAM:
// 7f3c-7f3d rw-s 00000000 00:01 1029     /memfd:memory-backend-memfd (deleted)
bool ParseRamLine(const char* line, Mapping& mapping) {
  unsigned long start, end, file_offset, inode;
  char permissions[5];
  unsigned device_major, device_minor;
  int path_at = 0;
  int fields = sscanf(line, "%lx-%lx %4s %lx %x:%x %lu %n", &start, &end, permissions, &file_offset,
                      &device_major, &device_minor, &inode, &path_at);
  if (fields != 7 || path_at == 0 || start >= end) return false;
  if (strcmp(permissions, "rw-s") != 0) return false;
  if (strcmp(line + path_at, "/memfd:memory-backend-memfd (deleted)") != 0) return false;
  mapping = {start, end, file_offset, {makedev(device_major, device_minor), inode}};
  return true;
}

bool Continues(const wire::RamBlock& block, const Mapping& mapping) {
  return block.inode == mapping.file.inode && block.hva + block.bytes == mapping.start &&
         block.file_offset + block.bytes == mapping.file_offset;
}

uint32_t IndexOf(const FileId& file, FileId* files, uint32_t& file_count) {
  for (uint32_t i = 0; i < file_count; ++i) {
    if (files[i] == file) return i;
  }
  files[file_count] = file;
  return file_count++;
}

// Fills blocks; memfds and page sizes stay open. False if there are too many.
bool ReadMappings(RamLayout& layout, FileId* files) {
  RecordReader lines("/proc/self/maps", '\n');
  char line[256];
  Mapping mapping;
  while (lines.Next(line, sizeof line)) {
    if (!ParseRamLine(line, mapping)) continue;
    // userfaultfd registration splits mappings; announced is what QEMU had mapped.
    if (layout.block_count > 0) {
      wire::RamBlock& last = layout.blocks[layout.block_count - 1];
      if (files[last.fd_index] == mapping.file && Continues(last, mapping)) {
        last.bytes += mapping.end - mapping.start;
        continue;
      }
    }
    if (layout.block_count == wire::kMaxRamBlocks) return false;
    layout.blocks[layout.block_count++] = {
        .hva = mapping.start,
        .bytes = mapping.end - mapping.start,
        .file_offset = mapping.file_offset,
        .inode = mapping.file.inode,
        .page_bytes = 0,
        .fd_index = IndexOf(mapping.file, files, layout.memfd_count),
    };
  }
  return true;
}

// QEMU opens RAM early, so that its descriptors are low; the end only bounds a search in vain.
int DescriptorSearchEnd() {
  constexpr rlim_t kEnd = 1 << 20;
  rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur > kEnd) return kEnd;
  return static_cast<int>(limit.rlim_cur);
}

// fstat, not /proc/self/fd: that one may need a permission that QEMU's confinement denies.
bool FindDescriptors(RamLayout& layout, const FileId* files) {
  for (uint32_t i = 0; i < layout.memfd_count; ++i) layout.memfds[i] = -1;
  uint32_t missing = layout.memfd_count;
  const int end = DescriptorSearchEnd();
  for (int fd = 0; fd < end && missing > 0; ++fd) {
    struct stat status;
    if (fstat(fd, &status) != 0) continue;
    for (uint32_t i = 0; i < layout.memfd_count; ++i) {
      if (layout.memfds[i] >= 0 || !(files[i] == FileId{status.st_dev, status.st_ino})) continue;
      if ((fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDWR) continue;
      layout.memfds[i] = fd;
      --missing;
      for (uint32_t b = 0; b < layout.block_count; ++b) {
        wire::RamBlock& block = layout.blocks[b];
        if (block.fd_index == i) block.page_bytes = static_cast<uint32_t>(status.st_blksize);
      }
    }
  }
  return missing == 0;
}

}  // namespace

RamSearch FindRam(RamLayout& layout) {
  FileId files[wire::kMaxRamBlocks];
  memset(&layout, 0, sizeof layout);
  if (!ReadMappings(layout, files)) return RamSearch::kTooMany;
  if (layout.block_count == 0) return RamSearch::kNone;
  return FindDescriptors(layout, files) ? RamSearch::kFound : RamSearch::kNoDescriptor;
}

bool SameBlocks(const RamLayout& a, const RamLayout& b) {
  return a.block_count == b.block_count &&
         memcmp(a.blocks, b.blocks, a.block_count * sizeof a.blocks[0]) == 0;
}

void ForbidHugePages(const RamLayout& layout) {
  for (uint32_t i = 0; i < layout.block_count; ++i) {
    const wire::RamBlock& block = layout.blocks[i];
    // Fails where the kernel has no huge pages, and on hugetlb, which ebbd refuses by page_bytes.
    madvise(reinterpret_cast<void*>(block.hva), block.bytes, MADV_NOHUGEPAGE);
  }
}

}  // namespace ebb::plugin
