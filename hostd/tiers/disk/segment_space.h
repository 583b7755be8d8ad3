// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "hostd/base/mutex.h"

namespace ebb {

inline constexpr uint32_t kSegmentBlocks = 256;  // 1 MiB

// The segments of a disk that nobody has. Segment N is the blocks from N * kSegmentBlocks on;
// segment 0 belongs to the disk's header and is never handed out. Thread-safe.
class SegmentSpace {
 public:
  // What is left at the end, less than a segment or more than a record can name, is not used.
  explicit SegmentSpace(uint64_t disk_bytes);

  // None when the disk is full.
  std::optional<uint32_t> Take();
  void GiveBack(std::span<const uint32_t> segments);

  uint64_t segments() const { return segments_; }
  uint64_t free_segments() const;

 private:
  const uint64_t segments_;  // that can be handed out
  mutable Mutex mutex_{"SegmentSpace::mutex_"};
  std::vector<bool> taken_ ABSL_GUARDED_BY(mutex_);         // of all that were ever handed out
  std::vector<uint32_t> returned_ ABSL_GUARDED_BY(mutex_);  // of these, the free ones
};

}  // namespace ebb
