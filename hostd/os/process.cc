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

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "hostd/base/status_macros.h"
#include "hostd/base/wait_checks.h"
#include "hostd/os/os_result.h"

namespace ebb {
namespace {

// As memory-backend-memfd names its memfds.
constexpr char kRamName[] = " /memfd:memory-backend-memfd (deleted)";

// The whole of a file in /proc: ifstream does not tell a process that is gone from one that may not
// be looked at.
absl::StatusOr<std::string> ReadProcFile(const std::string& path) {
  MayWait("for /proc");
  const UniqueFd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid()) return ErrnoStatus(path);
  std::string content;
  std::array<char, 65536> piece;
  for (;;) {
    MayWait("for /proc");
    const ssize_t bytes = read(file.get(), piece.data(), piece.size());
    if (bytes < 0) return ErrnoStatus(path);
    if (bytes == 0) return content;
    content.append(piece.data(), static_cast<size_t>(bytes));
  }
}

uint64_t MeminfoBytes(const std::string& field) {
  MayWait("for /proc");
  std::ifstream meminfo("/proc/meminfo");
  const std::string prefix = field + ":";
  for (std::string line; std::getline(meminfo, line);) {
    if (line.compare(0, prefix.size(), prefix) != 0) continue;
    return std::strtoull(line.c_str() + prefix.size(), nullptr, 10) * 1024;
  }
  return 0;
}

// The word in brackets of a line such as "always [never] advise".
std::string ChosenWord(const std::string& line) {
  const size_t open = line.find('[');
  const size_t close = line.find(']');
  if (open == std::string::npos || close == std::string::npos) return "";
  return line.substr(open + 1, close - open - 1);
}

bool IsOff(const std::string& word) { return word.empty() || word == "never" || word == "deny"; }

// Calls visit(file, VmFlags) for each VMA. The kernel walks all page tables of the process for it.
// False where not all of them could be seen.
template <typename Visit>
bool ForEachVma(int pid, Visit&& visit) {
  MayWait("for QEMU's memory map");
  std::ifstream smaps(absl::StrFormat("/proc/%d/smaps", pid));
  FileId file;
  bool any = false;
  for (std::string line; std::getline(smaps, line);) {
    unsigned device_major;
    unsigned device_minor;
    uint64_t inode;
    if (std::sscanf(line.c_str(), "%*x-%*x %*s %*x %x:%x %" SCNu64, &device_major, &device_minor,
                    &inode) == 3) {
      file = {makedev(device_major, device_minor), inode};
    } else if (line.compare(0, 8, "VmFlags:") == 0) {
      any = true;
      visit(file, line);
    }
  }
  return any && smaps.eof() && !smaps.bad();
}

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

absl::StatusOr<std::vector<std::string>> CommandLine(int pid) {
  EBB_ASSIGN_OR_RETURN(const std::string content,
                       ReadProcFile(absl::StrFormat("/proc/%d/cmdline", pid)));
  std::vector<std::string> arguments;
  std::istringstream stream(content);
  for (std::string argument; std::getline(stream, argument, '\0');) arguments.push_back(argument);
  return arguments;
}

absl::StatusOr<std::vector<std::string>> OpenFiles(int pid) {
  const std::string folder = absl::StrFormat("/proc/%d/fd", pid);
  std::vector<std::string> files;
  std::error_code error;
  MayWait("for /proc");
  std::filesystem::directory_iterator entry(folder, error);
  for (; !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    std::error_code link_error;
    const auto target = std::filesystem::read_symlink(entry->path(), link_error);
    if (!link_error) files.push_back(target.string());
    // Closed meanwhile is fine.
    if (link_error && link_error != std::errc::no_such_file_or_directory) error = link_error;
    if (error) break;
  }
  if (error) return absl::ErrnoToStatus(error.value(), folder);
  return files;
}

absl::StatusOr<uint64_t> StatusBytes(int pid, const std::string& field) {
  EBB_ASSIGN_OR_RETURN(const std::string status,
                       ReadProcFile(absl::StrFormat("/proc/%d/status", pid)));
  const std::string prefix = field + ":";
  std::istringstream lines(status);
  for (std::string line; std::getline(lines, line);) {
    if (line.compare(0, prefix.size(), prefix) != 0) continue;
    return std::strtoull(line.c_str() + prefix.size(), nullptr, 10) * 1024;
  }
  // A process that has let go of its memory has none of these either.
  return absl::NotFoundError(absl::StrFormat("/proc/%d/status has no %s", pid, field));
}

absl::StatusOr<std::vector<Vma>> MemoryMap(int pid) {
  EBB_ASSIGN_OR_RETURN(const std::string maps, ReadProcFile(absl::StrFormat("/proc/%d/maps", pid)));
  std::vector<Vma> vmas;
  std::istringstream lines(maps);
  for (std::string line; std::getline(lines, line);) {
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
    vma.is_ram = absl::EndsWith(line, kRamName);
    vmas.push_back(vma);
  }
  return vmas;
}

bool HugePagesForbidden(int pid, const FileId& file) {
  bool found = false;
  bool forbidden = true;
  const bool all = ForEachVma(pid, [&](const FileId& of, const std::string& flags) {
    if (of != file) return;
    found = true;
    forbidden &= flags.find(" nh") != std::string::npos;
  });
  return all && found && forbidden;
}

absl::StatusOr<bool> HasUserfaultfdRegistered(int pid) {
  bool found = false;
  const bool all = ForEachVma(pid, [&](const FileId&, const std::string& flags) {
    for (const char* registered : {" um", " uw", " ui"}) {
      found |= flags.find(registered) != std::string::npos;
    }
  });
  if (!all) return absl::UnavailableError(absl::StrFormat("/proc/%d/smaps cannot be read", pid));
  return found;
}

bool HostSwaps() {
  const auto swaps = ReadProcFile("/proc/swaps");
  // Not there in a kernel without swap; else, what cannot be read is taken to be on.
  if (!swaps.ok()) return !absl::IsNotFound(swaps.status());
  // One header line, then one line per swap area.
  return std::count(swaps->begin(), swaps->end(), '\n') > 1;
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

uint64_t HostTotalBytes() { return MeminfoBytes("MemTotal"); }

uint64_t HostAvailableBytes() { return MeminfoBytes("MemAvailable"); }

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
