// SPDX-License-Identifier: MIT
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "hostd/swap/host_tiers.h"
#include "tests/hammer/guest.h"
#include "tests/hammer/watched_disk.h"

namespace ebb::hammer {

// The tiers below guest RAM: a pool without a limit, or one that is full all the time and a disk
// behind it, which is a file that nobody else sees.
class Tiers {
 public:
  static absl::StatusOr<std::unique_ptr<Tiers>> Open(const GuestOptions& options);

  HostTiers host_tiers() { return {budget_ ? &*budget_ : nullptr, disk_ ? &*disk_ : nullptr}; }
  bool has_disk() const { return disk_.has_value(); }
  const WatchedDisk::Counts& counts() const { return counts_; }
  // One queue for one thread that reads the disk; null where there is none.
  absl::StatusOr<std::unique_ptr<DiskQueue>> OpenReads();

 private:
  Tiers() = default;

  WatchedDisk::Counts counts_;
  std::optional<PoolBudget> budget_;
  std::optional<DiskTier> disk_;
};

}  // namespace ebb::hammer
