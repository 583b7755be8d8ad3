// SPDX-License-Identifier: MIT
#include "hostd/vm/ram_change.h"

#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"
#include "hostd/base/status_macros.h"
#include "hostd/base/units.h"
#include "hostd/wire/handover.h"

namespace ebb {
namespace {

bool HasFile(const VmRam& ram, const FileId& file) {
  return std::find(ram.files.begin(), ram.files.end(), file) != ram.files.end();
}

// Of what is mapped in `ram` from files that `other` does not have.
uint64_t BytesMissingFrom(const VmRam& other, const VmRam& ram) {
  uint64_t pages = 0;
  for (const RamMapping& mapping : ram.layout.mappings()) {
    if (!HasFile(other, ram.files[mapping.memfd])) pages += mapping.pages;
  }
  return PagesToBytes(pages);
}

bool Continues(const RamMapping& mapping, const Vma& vma) {
  const uint64_t bytes = PagesToBytes(mapping.pages);
  return mapping.hva.value + bytes == vma.start.value &&
         mapping.file_offset + bytes == vma.file_offset;
}

size_t IndexOfFile(const FileId& file, std::vector<FileId>* files) {
  const auto found = std::find(files->begin(), files->end(), file);
  if (found != files->end()) return static_cast<size_t>(found - files->begin());
  files->push_back(file);
  return files->size() - 1;
}

}  // namespace

std::string RamChange::Text() const {
  const auto plugged =
      absl::StrFormat("%d MiB of memory were plugged into it", plugged_bytes / kMiB);
  const auto unplugged =
      absl::StrFormat("%d MiB of memory were unplugged from it", unplugged_bytes / kMiB);
  if (unplugged_bytes == 0) return plugged;
  return plugged_bytes == 0 ? unplugged : plugged + " and " + unplugged;
}

std::vector<size_t> UnpluggedMemfds(const VmRam& ram, const FileUsers& users) {
  const auto used = [&](const FileId& file) {
    const auto is_user = [&](const FileUser& user) {
      return user.file == file && user.pid != getpid();
    };
    return std::any_of(users.mappers.begin(), users.mappers.end(), is_user) ||
           std::any_of(users.holders.begin(), users.holders.end(), is_user);
  };
  std::vector<size_t> unplugged;
  for (size_t memfd = 0; memfd < ram.files.size(); ++memfd) {
    if (!used(ram.files[memfd])) unplugged.push_back(memfd);
  }
  // A VM without any RAM is not there, or cannot be seen.
  if (unplugged.size() == ram.files.size()) unplugged.clear();
  return unplugged;
}

bool IsBeingUnplugged(const VmRam& ram, int pid, const FileUsers& users) {
  return std::any_of(ram.files.begin(), ram.files.end(), [&](const FileId& file) {
    const auto is_of_file = [&](const FileUser& user) { return user.file == file; };
    const auto is_stranger = [&](const FileUser& user) {
      return user.file == file && user.pid != pid && user.pid != getpid();
    };
    return std::none_of(users.mappers.begin(), users.mappers.end(), is_of_file) &&
           std::none_of(users.holders.begin(), users.holders.end(), is_stranger);
  });
}

VmRam WithoutMemfds(const VmRam& ram, const std::vector<size_t>& memfds) {
  std::vector<RamMapping> left;
  for (const RamMapping& mapping : ram.layout.mappings()) {
    if (std::find(memfds.begin(), memfds.end(), mapping.memfd) == memfds.end()) {
      left.push_back(mapping);
    }
  }
  return {RamLayout(std::move(left)), ram.files};
}

VmRam RamIn(const std::vector<Vma>& memory_map) {
  std::vector<FileId> files;
  std::vector<RamMapping> mappings;
  for (const Vma& vma : memory_map) {
    if (!vma.is_ram || !vma.shared || !vma.writable) continue;
    const size_t memfd = IndexOfFile(vma.file, &files);
    const uint64_t pages = BytesToPages(vma.end.value - vma.start.value);
    if (!mappings.empty() && mappings.back().memfd == memfd && Continues(mappings.back(), vma)) {
      mappings.back().pages += pages;
    } else {
      mappings.push_back({vma.start, pages, vma.file_offset, memfd});
    }
  }
  return {RamLayout(std::move(mappings)), std::move(files)};
}

RamChange ChangeOf(const VmRam& before, const VmRam& now) {
  return {BytesMissingFrom(before, now), BytesMissingFrom(now, before)};
}

absl::Status CheckCanReturn(int pid, const VmRam& before, const VmRam& now) {
  const size_t parts = now.layout.mappings().size();
  if (parts == 0) return absl::FailedPreconditionError("it has no memory left that is a memfd");
  if (parts > wire::kMaxRamBlocks) {
    return absl::FailedPreconditionError(absl::StrFormat(
        "its memory has %d parts, and %d are the most", parts, wire::kMaxRamBlocks));
  }
  // Huge pages are files of another filesystem.
  const auto is_other = [&](const FileId& file) {
    return file.device != before.files.front().device;
  };
  if (std::any_of(now.files.begin(), now.files.end(), is_other)) {
    return absl::FailedPreconditionError("a part of it is in huge pages; plug it with 4 KiB pages");
  }
  const HostView host = HostView::Look();
  EBB_ASSIGN_OR_RETURN(const ProcessView view, LookAtProcess(pid, now.files, host));
  return CheckProcess(pid, now, view, host);
}

}  // namespace ebb
