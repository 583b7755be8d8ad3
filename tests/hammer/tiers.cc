// SPDX-License-Identifier: MIT
#include "tests/hammer/tiers.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "hostd/base/status_macros.h"
#include "hostd/base/units.h"
#include "hostd/swap/disk_reads.h"
#include "hostd/tiers/disk/open_tier_disk.h"

namespace ebb::hammer {
namespace {

// One span of most sizes, so that also a pool for few pages wants for room.
constexpr uint64_t kLeastPoolBytes = 32 * 1024;
// Of the guest's RAM.
constexpr uint64_t kPoolShare = 16;
// Pages that the disk has room for, to each of the guest. With less it would be full now and then.
constexpr uint64_t kDiskShare = 2;

// A file that is gone as soon as the disk is closed.
absl::StatusOr<std::unique_ptr<Disk>> OpenUnnamedDisk(const std::string& in, uint64_t bytes) {
  std::string folder = in + "/ebb-hammer-XXXXXX";
  if (mkdtemp(folder.data()) == nullptr) return absl::NotFoundError("no folder in " + in);
  const std::string path = folder + "/disk";
  absl::StatusOr<std::unique_ptr<Disk>> disk = OpenTierDisk(path, bytes);
  unlink(path.c_str());
  rmdir(folder.c_str());
  return disk;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Tiers>> Tiers::Open(const GuestOptions& options) {
  std::unique_ptr<Tiers> tiers(new Tiers);
  if (!options.both_tiers) return tiers;
  const uint64_t ram_bytes = PagesToBytes(options.pages);
  absl::StatusOr<std::unique_ptr<Disk>> disk = absl::NotFoundError("no folder for a disk");
  for (const std::string& folder : options.disk_folders) {
    disk = OpenUnnamedDisk(folder, kLeastDiskBytes + ram_bytes * kDiskShare);
    if (disk.ok()) break;
  }
  EBB_RETURN_IF_ERROR(disk.status());
  tiers->budget_.emplace(std::max(kLeastPoolBytes, ram_bytes / kPoolShare));
  tiers->disk_.emplace("the hammer's disk",
                       std::make_unique<WatchedDisk>(*std::move(disk), &tiers->counts_));
  return tiers;
}

absl::StatusOr<std::unique_ptr<DiskQueue>> Tiers::OpenReads() {
  if (!disk_) return nullptr;
  return disk_->OpenQueue(DiskReads::kMaxReads, kDiskBlockBytes);
}

}  // namespace ebb::hammer
