// SPDX-License-Identifier: MIT
// All that the attach check wants to know of a process and of the host, read in one go, so that the
// check itself decides on plain data. Reads much of /proc: not for the fault path.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "hostd/os/process.h"
#include "hostd/os/ram_layout.h"

namespace ebb {

// What holds for the whole host.
struct HostView {
  bool swaps = false;                           // to anything at all
  std::optional<std::string> shmem_huge_pages;  // the setting that is on
  static HostView Look();
};

// What holds for one process.
struct ProcessView {
  std::vector<std::string> command_line;
  std::vector<Vma> memory_map;
  std::vector<std::string> open_files;  // as OpenFiles
  uint64_t pinned_bytes = 0;            // VmPin
  uint64_t locked_bytes = 0;            // VmLck
  bool nested_guests = false;           // a guest of its has run a guest of its own
  std::optional<uint64_t> swap_max;     // as CgroupSwapMax
  bool huge_pages_forbidden = false;    // for all of `ram`; looked at where the host has them on
};

// kNotFound: the process is gone. Any other error names what could not be looked at.
absl::StatusOr<ProcessView> LookAtProcess(int pid, const std::vector<FileId>& ram,
                                          const HostView& host);

// Whether a guest of this process's KVM VMs has run a guest of its own. Fails where the kernel does
// not tell, unless it cannot have.
absl::StatusOr<bool> RunsNestedGuests(int pid, const std::vector<std::string>& open_files);

// The same, from KVM's folder in debugfs (`kvm_folder`). Fails where it has nothing on `pid`.
absl::StatusOr<bool> NestedGuestsIn(const std::string& kvm_folder, int pid);

// Whether the process maps all of it from that file, shared and writable.
bool IsMapped(const std::vector<Vma>& vmas, const RamMapping& mapping, const FileId& file);

// A process that maps a file, shared or private, or has it open.
struct FileUser {
  int pid = 0;
  FileId file;
  bool operator==(const FileUser&) const = default;
};
struct FileUsers {
  std::vector<FileUser> mappers;
  std::vector<FileUser> holders;
};

// Everybody on this host who uses one of these memfds, ebbd itself too. Fails where a process may
// not be looked at.
absl::StatusOr<FileUsers> UsersOf(const std::vector<FileId>& memfds);

}  // namespace ebb
