// SPDX-License-Identifier: MIT
#include "tests/hammer/tiers.h"

#include <algorithm>
#include <utility>

#include "hostd/base/status_macros.h"
#include "hostd/base/units.h"
#include "hostd/swap/disk_reads.h"
#include "hostd/tiers/disk/open_tier_disk.h"
#include "tests/hostd/tiers/disk/unnamed_disk.h"

namespace ebb::hammer {
namespace {

// One span of most sizes, so that also a pool for few pages wants for room.
constexpr uint64_t kLeastPoolBytes = 32 * 1024;
// Of the guest's RAM.
constexpr uint64_t kPoolShare = 16;
// Pages that the disk has room for, to each of the guest. With less it would be full now and then.
constexpr uint64_t kDiskShare = 2;

}  // namespace

absl::StatusOr<std::unique_ptr<Tiers>> Tiers::Open(const GuestOptions& options) {
  std::unique_ptr<Tiers> tiers(new Tiers);
  if (!options.both_tiers) return tiers;
  const uint64_t ram_bytes = PagesToBytes(options.pages);
  EBB_ASSIGN_OR_RETURN(
      std::unique_ptr<Disk> disk,
      OpenUnnamedDisk(options.disk_folders, kLeastDiskBytes + ram_bytes * kDiskShare));
  tiers->budget_.emplace(std::max(kLeastPoolBytes, ram_bytes / kPoolShare));
  tiers->disk_.emplace("the hammer's disk",
                       std::make_unique<WatchedDisk>(std::move(disk), &tiers->counts_));
  return tiers;
}

absl::StatusOr<std::unique_ptr<DiskQueue>> Tiers::OpenReads() {
  if (!disk_) return nullptr;
  return disk_->OpenQueue(DiskReads::kMaxReads, kDiskBlockBytes);
}

}  // namespace ebb::hammer
