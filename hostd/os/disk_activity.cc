// SPDX-License-Identifier: MIT
#include "hostd/os/disk_activity.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cstddef>
#include <filesystem>
#include <optional>
#include <set>
#include <sstream>

#include "absl/strings/str_format.h"
#include "hostd/base/wait_checks.h"
#include "hostd/os/process.h"

namespace ebb {
namespace {

// MAJOR:MINOR of every block device a process has open, or has a regular file open on.
std::set<std::string> DisksOf(int pid) {
  // A QEMU has some dozens of files open; one that has very many must not cost ebbd its time.
  constexpr int kMaxFiles = 1024;
  int looked_at = 0;
  std::set<std::string> disks;
  std::error_code error;
  MayWait("for /proc");
  for (const auto& entry :
       std::filesystem::directory_iterator(absl::StrFormat("/proc/%d/fd", pid), error)) {
    if (++looked_at > kMaxFiles) break;
    struct statx info;
    // DONT_SYNC: a network filesystem that does not answer must not be waited for.
    if (statx(AT_FDCWD, entry.path().c_str(), AT_STATX_DONT_SYNC, STATX_TYPE, &info) != 0) continue;
    if (S_ISREG(info.stx_mode)) {
      disks.insert(absl::StrFormat("%d:%d", info.stx_dev_major, info.stx_dev_minor));
    } else if (S_ISBLK(info.stx_mode)) {
      disks.insert(absl::StrFormat("%d:%d", info.stx_rdev_major, info.stx_rdev_minor));
    }
  }
  return disks;
}

struct Requests {
  uint64_t completed = 0;
  uint64_t in_flight = 0;
};

// Nothing for what is no block device: tmpfs and the like.
std::optional<Requests> RequestsOf(const std::string& folder) {
  const auto stat = ReadFile(folder + "/stat");
  const auto in_flight = ReadFile(folder + "/inflight");
  if (!stat || !in_flight) return std::nullopt;
  // Documentation/block/stat.rst: reads, writes, discards and flushes that are done.
  constexpr size_t kCounts[] = {0, 4, 11, 15};
  uint64_t fields[16] = {};
  std::istringstream stat_stream(*stat);
  for (uint64_t& field : fields) stat_stream >> field;
  uint64_t completed = 0;
  for (const size_t count : kCounts) completed += fields[count];
  uint64_t reads = 0;
  uint64_t writes = 0;
  std::istringstream(*in_flight) >> reads >> writes;
  return Requests{.completed = completed, .in_flight = reads + writes};
}

}  // namespace

void DiskActivity::Begin(int64_t now_ns) {
  disks_.clear();
  for (const std::string& name : DisksOf(pid_)) {
    const auto requests = RequestsOf(sys_folder_ + "/" + name);
    if (requests) disks_[name] = {.completed = requests->completed};
  }
  looked_ns_ = now_ns;
}

std::string DiskActivity::Waiting(int64_t now_ns) {
  std::string waiting;
  for (auto& [name, disk] : disks_) {
    const auto requests = RequestsOf(sys_folder_ + "/" + name);
    if (!requests || requests->in_flight == 0) {
      disk.worked_ns = now_ns;
    } else if (requests->completed != disk.completed) {
      disk.worked_ns = looked_ns_;  // or later, but who knows
    }
    if (requests) disk.completed = requests->completed;
    const bool fresh = disk.worked_ns != INT64_MIN && now_ns - disk.worked_ns <= kFreshNs;
    if (!fresh && waiting.empty()) waiting = name;
  }
  looked_ns_ = now_ns;
  return waiting;
}

}  // namespace ebb
