// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstdint>

#include "hostd/base/units.h"

namespace ebb {

// When the next I/O barrier of a VM may start. A barrier is bdrv_drain_all in QEMU: it holds QEMU's
// lock until the slowest disk has answered, so it must stay rare (design section 3, Guarded). Pure
// but for what it remembers of the last barrier.
class BarrierSchedule {
 public:
  void NoteCompleted(int64_t started_ns, int64_t ended_ns) {
    last_start_ns_ = started_ns;
    last_duration_ns_ = ended_ns - started_ns;
    slow_factor_ = last_duration_ns_ > kSlowNs ? std::min(slow_factor_ * 2, kMaxSlowFactor)
                                               : std::max<int64_t>(1, slow_factor_ / 2);
  }

  // `urgent`: the VM is at its limit.
  int64_t IntervalNs(bool urgent) const {
    const int64_t base_ns = urgent ? kUrgentIntervalNs : kIntervalNs;
    return std::max(base_ns * slow_factor_, last_duration_ns_ * kShareOfTime);
  }
  int64_t NextStartNs(bool urgent) const {
    return last_start_ns_ == 0 ? 0 : last_start_ns_ + IntervalNs(urgent);
  }

 private:
  static constexpr int64_t kIntervalNs = 10 * kNsPerS;
  static constexpr int64_t kUrgentIntervalNs = kNsPerS;
  // A barrier may take a hundredth of the VM's time at most.
  static constexpr int64_t kShareOfTime = 100;
  static constexpr int64_t kSlowNs = 50 * kNsPerMs;
  static constexpr int64_t kMaxSlowFactor = 64;

  int64_t last_start_ns_ = 0;
  int64_t last_duration_ns_ = 0;
  int64_t slow_factor_ = 1;
};

}  // namespace ebb
