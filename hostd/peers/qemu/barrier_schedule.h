// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstdint>

#include "hostd/base/units.h"

namespace ebb {

// When the next I/O barrier of a VM may start. A barrier is bdrv_drain_all in QEMU: it holds QEMU's
// lock until the slowest disk has answered, so it must stay rare (design section 3, Guarded). Two
// rules: a least interval, which slow barriers double; and a budget of a hundredth of the VM's
// time, saved up to a limit, so that one slow barrier among fast ones does not stop reclaim for
// long (why a budget: docs/decisions/0004). Pure but for what it remembers of past barriers.
class BarrierSchedule {
 public:
  void NoteCompleted(int64_t started_ns, int64_t ended_ns) {
    const int64_t duration_ns = ended_ns - started_ns;
    budget_ns_ = BudgetAt(started_ns) - duration_ns;
    last_start_ns_ = started_ns;
    slow_factor_ = duration_ns > kSlowNs ? std::min(slow_factor_ * 2, kMaxSlowFactor)
                                         : std::max<int64_t>(1, slow_factor_ / 2);
  }

  // From the start of the last barrier. `urgent`: the VM is at its limit.
  int64_t IntervalNs(bool urgent) const {
    const int64_t base_ns = urgent ? kUrgentIntervalNs : kIntervalNs;
    const int64_t until_paid_ns = std::max<int64_t>(0, -budget_ns_) * kShareOfTime;
    return std::max(base_ns * slow_factor_, until_paid_ns);
  }
  int64_t NextStartNs(bool urgent) const {
    return last_start_ns_ == 0 ? 0 : last_start_ns_ + IntervalNs(urgent);
  }

 private:
  static constexpr int64_t kIntervalNs = 10 * kNsPerS;
  static constexpr int64_t kUrgentIntervalNs = kNsPerS;
  static constexpr int64_t kShareOfTime = 100;
  static constexpr int64_t kMaxBudgetNs = 250 * kNsPerMs;
  static constexpr int64_t kSlowNs = 50 * kNsPerMs;
  static constexpr int64_t kMaxSlowFactor = 64;

  int64_t BudgetAt(int64_t now_ns) const {
    if (last_start_ns_ == 0) return budget_ns_;
    return std::min(kMaxBudgetNs, budget_ns_ + (now_ns - last_start_ns_) / kShareOfTime);
  }

  int64_t last_start_ns_ = 0;
  int64_t budget_ns_ = kMaxBudgetNs;  // right after the last barrier
  int64_t slow_factor_ = 1;
};

}  // namespace ebb
