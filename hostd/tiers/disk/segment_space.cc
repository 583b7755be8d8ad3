// SPDX-License-Identifier: MIT
#include "hostd/tiers/disk/segment_space.h"

#include <algorithm>

#include "hostd/base/check.h"
#include "hostd/base/units.h"
#include "hostd/page/swap_desc.h"

namespace ebb {
namespace {

uint64_t UsableSegments(uint64_t disk_bytes) {
  constexpr uint64_t kMaxSegments = (uint64_t{1} << SwapLocation::kDiskBlockBits) / kSegmentBlocks;
  const uint64_t all = std::min(disk_bytes / PagesToBytes(kSegmentBlocks), kMaxSegments);
  return all > 0 ? all - 1 : 0;
}

}  // namespace

SegmentSpace::SegmentSpace(uint64_t disk_bytes) : segments_(UsableSegments(disk_bytes)) {
  taken_.push_back(true);  // segment 0
}

std::optional<uint32_t> SegmentSpace::Take() {
  const MutexLock lock(mutex_);
  if (!returned_.empty()) {
    const uint32_t segment = returned_.back();
    returned_.pop_back();
    taken_[segment] = true;
    return segment;
  }
  if (taken_.size() > segments_) return std::nullopt;
  taken_.push_back(true);
  return static_cast<uint32_t>(taken_.size() - 1);
}

void SegmentSpace::GiveBack(std::span<const uint32_t> segments) {
  const MutexLock lock(mutex_);
  for (const uint32_t segment : segments) {
    EBB_CHECK(segment > 0 && segment < taken_.size() && taken_[segment],
              "a segment given back that nobody has");
    taken_[segment] = false;
    returned_.push_back(segment);
  }
}

uint64_t SegmentSpace::free_segments() const {
  const MutexLock lock(mutex_);
  return segments_ - (taken_.size() - 1) + returned_.size();
}

}  // namespace ebb
