// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <thread>

#include "hostd/base/units.h"

namespace ebb::guest {

// Holds a loop to a rate. What the loop fell behind, it may catch up for a tenth of a second only:
// a long stall is not followed by a burst.
class Pace {
 public:
  explicit Pace(uint64_t mib_s) : ns_per_page_(kNsPerS / (mib_s * BytesToPages(kMiB))) {}

  void Spend(uint64_t pages) {
    const Clock::time_point now = Clock::now();
    next_ = std::max(next_, now - kCatchUp) +
            std::chrono::nanoseconds(ns_per_page_ * static_cast<int64_t>(pages));
    // style-ok(sleep): to wait is the purpose
    if (next_ > now) std::this_thread::sleep_until(next_);
  }

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr std::chrono::milliseconds kCatchUp{100};

  const int64_t ns_per_page_;
  Clock::time_point next_ = Clock::now();
};

}  // namespace ebb::guest
