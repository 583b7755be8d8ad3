// SPDX-License-Identifier: MIT
// What the kernel says about processes and the host's memory, read from /proc and /sys. Every call
// reads afresh. A process that exits meanwhile gives an empty or missing answer, not a crash.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "hostd/base/unique_fd.h"
#include "hostd/base/units.h"

namespace ebb {

std::optional<std::string> ReadFile(const std::string& path);

absl::StatusOr<UniqueFd> OpenPidfd(int pid);
// What follows says kNotFound for a process that is gone, and any other error where ebbd may not
// look at it.
//
// Arguments of the process.
absl::StatusOr<std::vector<std::string>> CommandLine(int pid);
// What its open descriptors are, e.g. "/dev/vfio/12" or "anon_inode:[userfaultfd]".
absl::StatusOr<std::vector<std::string>> OpenFiles(int pid);
// A "NAME:  N kB" field of /proc/PID/status, in bytes.
absl::StatusOr<uint64_t> StatusBytes(int pid, const std::string& field);

// Which file, as stat(2) and /proc/PID/maps tell it. An inode number alone is not unique.
struct FileId {
  uint64_t device = 0;
  uint64_t inode = 0;
  constexpr auto operator<=>(const FileId&) const = default;
};

// A VMA of a process.
struct Vma {
  Hva start;
  Hva end;
  uint64_t file_offset = 0;
  FileId file;
  bool shared = false;
  bool writable = false;
  bool is_ram = false;  // its file has the name that QEMU gives the memfds of guest RAM
};
absl::StatusOr<std::vector<Vma>> MemoryMap(int pid);
// True where every VMA of `file` carries MADV_NOHUGEPAGE ("nh" in smaps' VmFlags).
bool HugePagesForbidden(int pid, const FileId& file);
// Whether any userfaultfd is registered in that process's memory, whoever made it. Fails where not
// all of that can be seen.
absl::StatusOr<bool> HasUserfaultfdRegistered(int pid);

// True while the host swaps to anything at all (/proc/swaps).
bool HostSwaps();
// memory.swap.max of the process's cgroup (v2) or its nearest ancestor's; none where it is "max" or
// there is no cgroup v2 memory controller.
std::optional<uint64_t> CgroupSwapMax(int pid);

// MemTotal and MemAvailable of the host.
uint64_t HostTotalBytes();
uint64_t HostAvailableBytes();

// Which shmem huge-page setting is on; none when shmem never uses huge pages.
std::optional<std::string> ShmemHugePageSetting();

// uname -r.
std::string KernelRelease();

}  // namespace ebb
