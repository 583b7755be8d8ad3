// SPDX-License-Identifier: MIT
#include "tests/synthetic/direct_file.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <array>
#include <cstdlib>

#include "hostd/base/units.h"
#include "tests/synthetic/die.h"

namespace ebb::synthetic {
namespace {

struct alignas(kPageBytes) Buffer {
  std::array<uint64_t, kPageBytes / sizeof(uint64_t)> words = {};
};

// A deleted file that takes O_DIRECT; not valid if there is none to be had in `folder`.
UniqueFd OpenUnnamed(const std::string& folder, size_t bytes) {
  struct statfs filesystem;
  if (statfs(folder.c_str(), &filesystem) != 0 || filesystem.f_type == TMPFS_MAGIC ||
      filesystem.f_type == RAMFS_MAGIC) {
    return {};
  }
  std::string path = folder + "/ebb-synthetic-XXXXXX";
  UniqueFd fd(mkostemp(path.data(), O_CLOEXEC | O_DIRECT));
  if (!fd.valid()) return {};
  unlink(path.c_str());
  if (posix_fallocate(fd.get(), 0, static_cast<off_t>(bytes)) != 0) return {};
  return fd;
}

// 0: no direct I/O at all.
size_t AlignmentOf(int fd) {
  Buffer buffer;
  const auto whole = static_cast<ssize_t>(kPageBytes);
  if (pwrite(fd, buffer.words.data(), kPageBytes, 0) != whole) return 0;
  const ssize_t sector = pread(fd, buffer.words.data() + kSectorWords, kSectorBytes, kSectorBytes);
  return sector == static_cast<ssize_t>(kSectorBytes) ? kSectorBytes : kPageBytes;
}

}  // namespace

DirectFile DirectFile::Create(const std::vector<std::string>& folders, size_t bytes) {
  DirectFile file;
  for (const std::string& folder : folders) {
    file.fd_ = OpenUnnamed(folder, bytes);
    file.alignment_ = file.fd_.valid() ? AlignmentOf(file.fd_.get()) : 0;
    if (file.alignment_ != 0) {
      file.sectors_ = static_cast<uint32_t>(bytes / kSectorBytes);
      file.folder_ = folder;
      return file;
    }
  }
  file.fd_.Reset();
  return file;
}

void DirectFile::WriteSectors(const Content& content) {
  constexpr uint32_t kSectorsAtOnce = kPageBytes / kSectorBytes;
  Buffer buffer;
  for (uint32_t sector = 0; sector < sectors_; sector += kSectorsAtOnce) {
    content.Compose(0, {Stamp::Kind::kSectors, 0, sector}, buffer.words);
    if (pwrite(fd_.get(), buffer.words.data(), kPageBytes,
               static_cast<off_t>(sector) * static_cast<off_t>(kSectorBytes)) !=
        static_cast<ssize_t>(kPageBytes)) {
      Die("filling the disk");
    }
  }
}

}  // namespace ebb::synthetic
