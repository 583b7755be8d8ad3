// SPDX-License-Identifier: MIT
#include "hostd/os/process_view.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "hostd/base/status_macros.h"
#include "hostd/base/wait_checks.h"
#include "hostd/os/descriptor.h"
#include "hostd/os/os_result.h"

namespace ebb {
namespace {

bool Contains(const std::vector<FileId>& files, const FileId& file) {
  return std::find(files.begin(), files.end(), file) != files.end();
}

absl::StatusOr<std::vector<int>> AllPids() {
  std::vector<int> pids;
  std::error_code ignored;
  MayWait("for /proc");
  for (const auto& entry : std::filesystem::directory_iterator("/proc", ignored)) {
    int pid;
    if (absl::SimpleAtoi(entry.path().filename().c_str(), &pid)) pids.push_back(pid);
  }
  if (std::find(pids.begin(), pids.end(), getpid()) == pids.end()) {
    return absl::UnavailableError("/proc does not show the processes of this host");
  }
  return pids;
}

// A process that is gone is nobody's concern. Nor is init: hosts that hide it from root exist, and
// who controls it controls ebbd.
absl::Status MayLookAt(int pid, const absl::Status& status) {
  constexpr int kInit = 1;
  if (status.ok() || absl::IsNotFound(status) || pid == kInit) return absl::OkStatus();
  return absl::UnavailableError(
      absl::StrFormat("ebbd may not look at process %d, which may use the VM's memory too (%s)",
                      pid, std::string(status.message())));
}

absl::Status AddMappings(int pid, const std::vector<FileId>& memfds, FileUsers* users) {
  const absl::StatusOr<std::vector<Vma>> vmas = MemoryMap(pid);
  if (!vmas.ok()) return vmas.status();
  for (const Vma& vma : *vmas) {
    // Private ones too: reading a hole through one puts a page there.
    if (Contains(memfds, vma.file)) users->mappers.push_back({pid, vma.file});
  }
  return absl::OkStatus();
}

absl::Status AddDescriptors(int pid, const std::vector<FileId>& memfds, FileUsers* users) {
  const std::string folder = absl::StrFormat("/proc/%d/fd", pid);
  std::error_code error;
  MayWait("for /proc");
  std::filesystem::directory_iterator entry(folder, error);
  for (; !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    // By its name first: a network filesystem that does not answer must not be asked.
    MayWait("for /proc");
    const auto name = std::filesystem::read_symlink(entry->path(), error);
    if (error == std::errc::no_such_file_or_directory) error.clear();  // closed meanwhile
    if (error) break;
    if (!absl::StartsWith(name.string(), kMemfdNamePrefix)) continue;
    struct statx info;
    if (statx(AT_FDCWD, entry->path().c_str(), AT_STATX_DONT_SYNC, STATX_INO, &info) != 0) {
      continue;
    }
    const FileId file{makedev(info.stx_dev_major, info.stx_dev_minor), info.stx_ino};
    if (Contains(memfds, file)) users->holders.push_back({pid, file});
  }
  if (error) return absl::ErrnoToStatus(error.value(), folder);
  return absl::OkStatus();
}

// Only these two modules run nested guests, and only where their parameter says so.
bool NestingIsPossible() {
  for (const char* module : {"kvm_intel", "kvm_amd"}) {
    const std::string folder = absl::StrFormat("/sys/module/%s", module);
    if (access(folder.c_str(), F_OK) != 0) continue;
    const std::string nested = ReadFile(folder + "/parameters/nested").value_or("");
    if (!absl::StartsWith(nested, "N") && !absl::StartsWith(nested, "0")) return true;
  }
  return false;
}

// debugfs where only ebbd sees it, for hosts that have it mounted nowhere.
UniqueFd MountDebugfs() {
  const UniqueFd filesystem(fsopen("debugfs", FSOPEN_CLOEXEC));
  if (!filesystem.valid() ||
      fsconfig(filesystem.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0) {
    return {};
  }
  return UniqueFd(fsmount(filesystem.get(), FSMOUNT_CLOEXEC, 0));
}

}  // namespace

HostView HostView::Look() { return {HostSwaps(), ShmemHugePageSetting()}; }

absl::StatusOr<bool> NestedGuestsIn(const std::string& kvm_folder, int pid) {
  // One folder a VM, named PID-FD; since Linux 5.14.
  const std::string prefix = absl::StrFormat("%d-", pid);
  bool found = false;
  std::error_code error;
  MayWait("for /sys");
  for (const auto& entry : std::filesystem::directory_iterator(kvm_folder, error)) {
    if (!absl::StartsWith(entry.path().filename().string(), prefix)) continue;
    uint64_t runs;
    const auto content = ReadFile(entry.path() / "nested_run");
    if (!content || !absl::SimpleAtoi(*content, &runs)) continue;
    if (runs > 0) return true;
    found = true;
  }
  if (found) return false;
  return absl::UnavailableError(absl::StrFormat("%s has no nested_run of it", kvm_folder));
}

absl::StatusOr<bool> RunsNestedGuests(int pid, const std::vector<std::string>& open_files) {
  const bool has_vm = std::any_of(open_files.begin(), open_files.end(), [](const auto& file) {
    return absl::StartsWith(file, "anon_inode:kvm-vm");
  });
  if (!has_vm || !NestingIsPossible()) return false;
  absl::StatusOr<bool> nested = NestedGuestsIn("/sys/kernel/debug/kvm", pid);
  if (nested.ok()) return nested;
  const UniqueFd own = MountDebugfs();
  if (!own.valid()) return nested;
  return NestedGuestsIn(absl::StrFormat("/proc/self/fd/%d/kvm", own.get()), pid);
}

absl::StatusOr<ProcessView> LookAtProcess(int pid, const std::vector<FileId>& ram,
                                          const HostView& host) {
  ProcessView view;
  EBB_ASSIGN_OR_RETURN(view.command_line, CommandLine(pid));
  EBB_ASSIGN_OR_RETURN(view.memory_map, MemoryMap(pid));
  EBB_ASSIGN_OR_RETURN(view.open_files, OpenFiles(pid));
  EBB_ASSIGN_OR_RETURN(view.pinned_bytes, StatusBytes(pid, "VmPin"));
  EBB_ASSIGN_OR_RETURN(view.locked_bytes, StatusBytes(pid, "VmLck"));
  const absl::StatusOr<bool> nested = RunsNestedGuests(pid, view.open_files);
  if (!nested.ok()) {
    return absl::UnavailableError(absl::StrFormat(
        "the kernel does not tell whether it runs nested guests (%s); load kvm_intel or kvm_amd "
        "with nested=0, or let ebbd see debugfs",
        std::string(nested.status().message())));
  }
  view.nested_guests = *nested;
  view.swap_max = CgroupSwapMax(pid);
  if (host.shmem_huge_pages) {
    view.huge_pages_forbidden = std::all_of(
        ram.begin(), ram.end(), [&](const FileId& file) { return HugePagesForbidden(pid, file); });
  }
  return view;
}

bool IsMapped(const std::vector<Vma>& vmas, const RamMapping& mapping, const FileId& file) {
  const uint64_t start = mapping.hva.value;
  uint64_t at = start;
  const uint64_t end = start + PagesToBytes(mapping.pages);
  for (const Vma& vma : vmas) {
    if (vma.start.value > at || vma.end.value <= at) continue;
    if (!vma.shared || !vma.writable || vma.file != file) return false;
    if (vma.file_offset + (at - vma.start.value) != mapping.file_offset + (at - start)) {
      return false;
    }
    at = std::min(vma.end.value, end);
    if (at == end) return true;
  }
  return false;
}

absl::StatusOr<FileUsers> UsersOf(const std::vector<FileId>& memfds) {
  FileUsers users;
  EBB_ASSIGN_OR_RETURN(const std::vector<int> pids, AllPids());
  for (const int pid : pids) {
    EBB_RETURN_IF_ERROR(MayLookAt(pid, AddMappings(pid, memfds, &users)));
    EBB_RETURN_IF_ERROR(MayLookAt(pid, AddDescriptors(pid, memfds, &users)));
  }
  return users;
}

}  // namespace ebb
