// SPDX-License-Identifier: MIT
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "hostd/base/units.h"
#include "hostd/tiers/disk/disk_tier.h"
#include "tests/fakes/fake_disk.h"

namespace ebb {

// A disk tier in memory, of one segment for the header and `segments` more. For one thread.
inline std::unique_ptr<DiskTier> FakeTier(uint64_t segments) {
  const uint64_t bytes = PagesToBytes((segments + 1) * kSegmentBlocks);
  return std::make_unique<DiskTier>("/a/disk", std::make_unique<FakeDisk>(bytes));
}

inline void TakeAll(SegmentSpace& space) {
  while (space.Take()) {
  }
}

}  // namespace ebb
