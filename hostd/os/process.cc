// SPDX-License-Identifier: MIT
#include "hostd/os/process.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "hostd/base/wait_checks.h"
#include "hostd/os/os_result.h"

namespace ebb {
namespace {

std::vector<int> AllPids() {
  std::vector<int> pids;
  std::error_code ignored;
  MayWait("for /proc");
  for (const auto& entry : std::filesystem::directory_iterator("/proc", ignored)) {
    int pid;
    if (absl::SimpleAtoi(entry.path().filename().c_str(), &pid)) pids.push_back(pid);
  }
  return pids;
}

bool Contains(const std::vector<FileId>& files, const FileId& file) {
  return std::find(files.begin(), files.end(), file) != files.end();
}

// The word in brackets of a line such as "always [never] advise".
std::string ChosenWord(const std::string& line) {
  const size_t open = line.find('[');
  const size_t close = line.find(']');
  if (open == std::string::npos || close == std::string::npos) return "";
  return line.substr(open + 1, close - open - 1);
}

bool IsOff(const std::string& word) { return word.empty() || word == "never" || word == "deny"; }

}  // namespace

std::optional<std::string> ReadFile(const std::string& path) {
  MayWait("for a file");
  std::ifstream file(path);
  if (!file) return std::nullopt;
  return std::string(std::istreambuf_iterator<char>(file), {});
}

absl::StatusOr<UniqueFd> OpenPidfd(int pid) {
  UniqueFd fd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  if (!fd.valid()) return ErrnoStatus(absl::StrFormat("opening process %d", pid));
  return fd;
}

std::vector<std::string> CommandLine(int pid) {
  std::vector<std::string> arguments;
  const auto content = ReadFile(absl::StrFormat("/proc/%d/cmdline", pid));
  if (!content) return arguments;
  std::istringstream stream(*content);
  for (std::string argument; std::getline(stream, argument, '\0');) arguments.push_back(argument);
  return arguments;
}

std::vector<std::string> OpenFiles(int pid) {
  std::vector<std::string> files;
  std::error_code error;
  MayWait("for /proc");
  for (const auto& entry :
       std::filesystem::directory_iterator(absl::StrFormat("/proc/%d/fd", pid), error)) {
    const auto target = std::filesystem::read_symlink(entry.path(), error);
    if (!error) files.push_back(target.string());
  }
  return files;
}

std::optional<uint64_t> StatusBytes(int pid, const std::string& field) {
  MayWait("for /proc");
  std::ifstream status(absl::StrFormat("/proc/%d/status", pid));
  const std::string prefix = field + ":";
  for (std::string line; std::getline(status, line);) {
    if (line.compare(0, prefix.size(), prefix) != 0) continue;
    return std::strtoull(line.c_str() + prefix.size(), nullptr, 10) * 1024;
  }
  return std::nullopt;
}

std::vector<Vma> MemoryMap(int pid) {
  std::vector<Vma> vmas;
  MayWait("for QEMU's memory map");
  std::ifstream maps(absl::StrFormat("/proc/%d/maps", pid));
  for (std::string line; std::getline(maps, line);) {
    Vma vma;
    std::array<char, 5> permissions{};
    unsigned device_major;
    unsigned device_minor;
    if (std::sscanf(line.c_str(), "%" SCNx64 "-%" SCNx64 " %4s %" SCNx64 " %x:%x %" SCNu64,
                    &vma.start.value, &vma.end.value, permissions.data(), &vma.file_offset,
                    &device_major, &device_minor, &vma.file.inode) != 7) {
      continue;
    }
    vma.file.device = makedev(device_major, device_minor);
    vma.writable = permissions[1] == 'w';
    vma.shared = permissions[3] == 's';
    vmas.push_back(vma);
  }
  return vmas;
}

bool HugePagesForbidden(int pid, const FileId& file) {
  MayWait("for QEMU's memory map");
  std::ifstream smaps(absl::StrFormat("/proc/%d/smaps", pid));
  bool found = false;
  bool ours = false;
  for (std::string line; std::getline(smaps, line);) {
    unsigned device_major;
    unsigned device_minor;
    uint64_t inode;
    if (std::sscanf(line.c_str(), "%*x-%*x %*s %*x %x:%x %" SCNu64, &device_major, &device_minor,
                    &inode) == 3) {
      ours = FileId{makedev(device_major, device_minor), inode} == file;
    } else if (ours && line.compare(0, 8, "VmFlags:") == 0) {
      if (line.find(" nh") == std::string::npos) return false;
      found = true;
    }
  }
  return found;
}

std::vector<FileUser> MappersOf(const std::vector<FileId>& files) {
  std::vector<FileUser> mappers;
  for (const int pid : AllPids()) {
    for (const Vma& vma : MemoryMap(pid)) {
      // Private ones too: reading a hole through one puts a page there.
      if (Contains(files, vma.file)) mappers.push_back({pid, vma.file});
    }
  }
  return mappers;
}

std::vector<FileUser> HoldersOf(const std::vector<FileId>& files) {
  std::vector<FileUser> holders;
  std::error_code error;
  for (const int pid : AllPids()) {
    MayWait("for /proc");
    for (const auto& entry :
         std::filesystem::directory_iterator(absl::StrFormat("/proc/%d/fd", pid), error)) {
      struct statx info;
      // DONT_SYNC: a network filesystem that does not answer must not be waited for.
      if (statx(AT_FDCWD, entry.path().c_str(), AT_STATX_DONT_SYNC, STATX_INO, &info) != 0) {
        continue;
      }
      const FileId file{makedev(info.stx_dev_major, info.stx_dev_minor), info.stx_ino};
      if (Contains(files, file)) holders.push_back({pid, file});
    }
  }
  return holders;
}

bool RunsNestedGuests(int pid) {
  // One folder a VM, named PID-FD; Documentation/virt/kvm, since Linux 5.14.
  const std::string prefix = absl::StrFormat("%d-", pid);
  std::error_code error;
  MayWait("for /sys");
  for (const auto& entry : std::filesystem::directory_iterator("/sys/kernel/debug/kvm", error)) {
    if (entry.path().filename().string().compare(0, prefix.size(), prefix) != 0) continue;
    uint64_t runs;
    const auto content = ReadFile(entry.path() / "nested_run");
    if (content && absl::SimpleAtoi(*content, &runs) && runs > 0) return true;
  }
  return false;
}

bool HostSwaps() {
  const auto swaps = ReadFile("/proc/swaps");
  // One header line, then one line per swap area.
  return swaps && std::count(swaps->begin(), swaps->end(), '\n') > 1;
}

std::optional<uint64_t> CgroupSwapMax(int pid) {
  const auto membership = ReadFile(absl::StrFormat("/proc/%d/cgroup", pid));
  if (!membership) return std::nullopt;
  const size_t entry = membership->find("0::/");
  if (entry == std::string::npos) return std::nullopt;
  const size_t start = entry + 3;
  std::filesystem::path group(membership->substr(start, membership->find('\n', start) - start));
  std::optional<uint64_t> smallest;
  for (; group.has_relative_path(); group = group.parent_path()) {
    const auto content = ReadFile("/sys/fs/cgroup" + group.string() + "/memory.swap.max");
    uint64_t bytes;
    if (content && absl::SimpleAtoi(*content, &bytes)) {
      smallest = smallest ? std::min(*smallest, bytes) : bytes;
    }
  }
  return smallest;
}

uint64_t HostAvailableBytes() {
  MayWait("for /proc");
  std::ifstream meminfo("/proc/meminfo");
  uint64_t kib;
  for (std::string line; std::getline(meminfo, line);) {
    if (std::sscanf(line.c_str(), "MemAvailable: %" SCNu64, &kib) == 1) return kib * 1024;
  }
  return 0;
}

std::optional<std::string> ShmemHugePageSetting() {
  const std::string base = "/sys/kernel/mm/transparent_hugepage/";
  const std::string general = ChosenWord(ReadFile(base + "shmem_enabled").value_or(""));
  if (!IsOff(general)) return "shmem_enabled=" + general;
  std::error_code error;
  MayWait("for /sys");
  for (const auto& entry : std::filesystem::directory_iterator(base, error)) {
    const std::string size = entry.path().filename().string();
    if (size.compare(0, 10, "hugepages-") != 0) continue;
    const std::string word = ChosenWord(ReadFile(entry.path() / "shmem_enabled").value_or(""));
    // "inherit" follows the general setting, which is off.
    if (!IsOff(word) && word != "inherit") return size + "/shmem_enabled=" + word;
  }
  return std::nullopt;
}

std::string KernelRelease() {
  utsname name;
  return uname(&name) == 0 ? name.release : "unknown";
}

}  // namespace ebb
