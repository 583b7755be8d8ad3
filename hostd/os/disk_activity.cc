// SPDX-License-Identifier: MIT
#include "hostd/os/disk_activity.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <filesystem>
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

}  // namespace

void DiskActivity::Sample(int64_t now_ns) {
  std::map<std::string, Disk> seen;
  for (const std::string& name : DisksOf(pid_)) {
    const std::string folder = "/sys/dev/block/" + name;
    const auto stat = ReadFile(folder + "/stat");
    const auto in_flight = ReadFile(folder + "/inflight");
    if (!stat || !in_flight) continue;  // tmpfs and the like
    // Documentation/block/stat.rst: read I/Os are the first field, write I/Os the fifth.
    uint64_t fields[5] = {};
    std::istringstream stat_stream(*stat);
    for (uint64_t& field : fields) stat_stream >> field;
    uint64_t reads = 0;
    uint64_t writes = 0;
    std::istringstream(*in_flight) >> reads >> writes;

    Disk disk;
    disk.completed = fields[0] + fields[4];
    disk.in_flight = reads + writes;
    const auto before = disks_.find(name);
    const bool moved = before == disks_.end() || disk.in_flight == 0 ||
                       before->second.in_flight == 0 || disk.completed != before->second.completed;
    disk.moved_ns = moved ? now_ns : before->second.moved_ns;
    seen[name] = disk;
  }
  disks_ = std::move(seen);
}

std::string DiskActivity::StalledFor(int64_t stalled_ns, int64_t now_ns) const {
  for (const auto& [name, disk] : disks_) {
    if (disk.in_flight > 0 && now_ns - disk.moved_ns >= stalled_ns) return name;
  }
  return "";
}

}  // namespace ebb
