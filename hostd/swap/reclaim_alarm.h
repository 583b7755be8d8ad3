// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <cstdint>

#include "hostd/os/wake_event.h"

namespace ebb {

// Wakes the reclaim thread, if it sleeps, at the price of one atomic load if it does not.
class ReclaimAlarm {
 public:
  void Ring() {
    if (sleeping_.load(std::memory_order_relaxed)) event_.Set();
  }
  void RingAlways() { event_.Set(); }
  // Reclaim thread: sleeps until the alarm rings or the time has passed.
  void Sleep(int64_t ns) {
    sleeping_.store(true, std::memory_order_relaxed);
    WaitReadable(event_.fd(), event_, ns);
    sleeping_.store(false, std::memory_order_relaxed);
    event_.Clear();
  }

 private:
  WakeEvent event_;
  std::atomic<bool> sleeping_{false};
};

}  // namespace ebb
