// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <cstdint>

#include "hostd/base/clock.h"
#include "hostd/base/units.h"
#include "hostd/swap/io_barrier.h"

namespace ebb {

// A barrier that completes when the test says so. Thread-safe.
class FakeIoBarrier : public IoBarrier {
 public:
  // A barrier that started at `started_ns` has completed.
  void Complete(int64_t started_ns) { safe_before_ns_ = started_ns; }
  // One that starts after everything that was done so far has completed.
  void CompleteNow() { Complete(MonotonicNs() + 1); }
  void SetIntervalNs(int64_t interval_ns) { interval_ns_ = interval_ns; }
  uint64_t requests() const { return requests_; }
  bool last_was_urgent() const { return last_was_urgent_; }

  int64_t SafeBeforeNs(int64_t) override { return safe_before_ns_; }
  void Request(bool urgent) override {
    last_was_urgent_ = urgent;
    ++requests_;
  }
  int64_t IntervalNs() override { return interval_ns_; }
  IoBarrierStatus Status() override {
    IoBarrierStatus status;
    status.mode = "fake";
    status.count = requests_;
    return status;
  }

 private:
  std::atomic<int64_t> safe_before_ns_{0};
  std::atomic<int64_t> interval_ns_{10 * kNsPerS};
  std::atomic<uint64_t> requests_{0};
  std::atomic<bool> last_was_urgent_{false};
};

}  // namespace ebb
