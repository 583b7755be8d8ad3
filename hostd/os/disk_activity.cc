// SPDX-License-Identifier: MIT
#include "hostd/os/disk_activity.h"

#include <fcntl.h>
#include <sys/stat.h>

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
  // Documentation/block/stat.rst: of reads the first field, of writes the fifth.
  uint64_t fields[5] = {};
  std::istringstream stat_stream(*stat);
  for (uint64_t& field : fields) stat_stream >> field;
  uint64_t reads = 0;
  uint64_t writes = 0;
  std::istringstream(*in_flight) >> reads >> writes;
  return Requests{.completed = fields[0] + fields[4], .in_flight = reads + writes};
}

}  // namespace

void DiskActivity::Begin() {
  completed_.clear();
  for (const std::string& disk : DisksOf(pid_)) {
    const auto requests = RequestsOf(sys_folder_ + "/" + disk);
    if (requests) completed_[disk] = requests->completed;
  }
}

std::string DiskActivity::Waiting() const {
  for (const auto& [disk, completed] : completed_) {
    const auto requests = RequestsOf(sys_folder_ + "/" + disk);
    if (requests && requests->in_flight > 0 && requests->completed == completed) return disk;
  }
  return "";
}

}  // namespace ebb
