// SPDX-License-Identifier: MIT
#include "hostd/vm/tier_status.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_format.h"
#include "hostd/base/units.h"

namespace ebb {
namespace {

std::string PoolTrouble(bool has_disk) {
  if (has_disk) {
    return "the pool has no room: what would be swapped out stays resident, even above a limit, "
           "until the disk has taken some of it. If that lasts, see the disk's line, or raise "
           "ebbd's --pool-max";
  }
  return "the pool has no room, or the host no memory for it: what would be swapped out stays "
         "resident, even above a limit. Raise ebbd's --pool-max, give it a disk (ebbd --disk "
         "PATH:SIZE), or raise a limit";
}

TierStatus PoolStatus(const PoolBudget* budget, bool has_disk, const std::vector<VmStatus>& vms) {
  TierStatus pool;
  pool.tier = "pool";
  pool.state = "ok";
  for (const VmStatus& vm : vms) {
    pool.used_bytes += vm.pool_used_bytes;
    pool.original_bytes += vm.pool_original_bytes;
    if (vm.pool_full) pool.state = "full";
  }
  pool.taken_bytes = pool.used_bytes;
  if (budget != nullptr && budget->max_bytes() != UINT64_MAX) pool.max_bytes = budget->max_bytes();
  if (pool.state != "ok") pool.message = PoolTrouble(has_disk);
  return pool;
}

// Says of a disk how it is, and what that means. What is worse goes first.
void Judge(const DiskTier::Stats& stats, bool no_room, TierStatus* disk) {
  if (stats.stalled) {
    disk->state = "stalled";
    disk->message = absl::StrFormat(
        "the disk %s has not answered a read or write for more than 5 s: what the pool has no room "
        "for "
        "stays resident, and threads of a guest that touch pages on it may wait until it answers. "
        "Nothing is lost. Look at the kernel's log (dmesg), and at what else uses it",
        disk->path);
  } else if (stats.failing) {
    disk->state = "failing";
    disk->message = absl::StrFormat(
        "the last write to the disk %s failed: what was to go there stays where it is, nothing is "
        "lost, and ebbd tries again after 1 s to 30 s. Look at the kernel's log (dmesg), and "
        "whether the file system that it is on has room",
        disk->path);
  } else if (no_room && stats.free_segments == 0) {
    disk->state = "full";
    disk->message = absl::StrFormat(
        "the disk %s is full: what the pool has no room for stays resident, even above a limit. "
        "Raise limits, detach a VM, or stop ebbd and start it with a larger one (--disk "
        "PATH:SIZE)",
        disk->path);
  }
}

TierStatus DiskStatus(const DiskTier& tier, const std::vector<VmStatus>& vms, int64_t now_ns) {
  const DiskTier::Stats stats = tier.stats(now_ns);
  TierStatus disk;
  disk.tier = "disk";
  disk.path = tier.name();
  disk.state = "ok";
  disk.max_bytes = stats.bytes;
  disk.taken_bytes = PagesToBytes((stats.segments - stats.free_segments) * kSegmentBlocks);
  disk.reads = stats.reads;
  disk.failed_reads = stats.failed_reads;
  disk.written_blocks = stats.written_blocks;
  disk.failed_writes = stats.failed_writes;
  for (const VmStatus& vm : vms) {
    disk.used_bytes += vm.disk_used_bytes;
    disk.original_bytes += vm.disk_bytes;
  }
  const bool no_room =
      std::any_of(vms.begin(), vms.end(), [](const VmStatus& vm) { return vm.disk_full; });
  Judge(stats, no_room, &disk);
  return disk;
}

}  // namespace

std::vector<TierStatus> StatusOf(const PoolBudget* pool_budget, const DiskTier* disk,
                                 const std::vector<VmStatus>& vms, int64_t now_ns) {
  std::vector<TierStatus> all = {PoolStatus(pool_budget, disk != nullptr, vms)};
  if (disk != nullptr) all.push_back(DiskStatus(*disk, vms, now_ns));
  return all;
}

}  // namespace ebb
