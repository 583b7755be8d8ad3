// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstdint>

#include "hostd/base/units.h"

namespace ebb {

// How fast pages become resident: swap-ins and first touches together. Rises at once and falls by a
// third per sample, because a reserve that is too large for a second costs less than an empty one.
// Reclaim thread only.
class Inflow {
 public:
  // What came in since the last sample is what residency grew by plus what was swapped out.
  void Sample(int64_t now_ns, uint64_t resident_pages, uint64_t swapped_out_total) {
    const uint64_t came_in_total = resident_pages + swapped_out_total;
    if (last_ns_ == 0) {
      last_ns_ = now_ns;
      last_total_ = came_in_total;
    }
    if (now_ns - last_ns_ < kSampleNs) return;
    const uint64_t came_in = came_in_total > last_total_ ? came_in_total - last_total_ : 0;
    const double seconds = static_cast<double>(now_ns - last_ns_) / kNsPerS;
    const auto rate = static_cast<uint64_t>(static_cast<double>(came_in) / seconds);
    pages_per_s_ = std::max(rate, pages_per_s_ * 2 / 3);
    last_ns_ = now_ns;
    last_total_ = came_in_total;
  }
  uint64_t pages_per_s() const { return pages_per_s_; }

 private:
  static constexpr int64_t kSampleNs = kNsPerS / 2;

  int64_t last_ns_ = 0;
  uint64_t last_total_ = 0;
  uint64_t pages_per_s_ = 0;
};

}  // namespace ebb
