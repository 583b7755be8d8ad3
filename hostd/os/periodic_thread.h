// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <thread>

#include "hostd/os/thread.h"
#include "hostd/os/wake_event.h"

namespace ebb {

// A thread that does the same thing again and again, until this is destroyed.
class PeriodicThread {
 public:
  // The first round begins at once, and each other one `interval_ns` after the last has ended. What
  // `round` uses must outlive this. For `name` see EnterThreadRole.
  PeriodicThread(const char* name, ThreadRole role, int64_t interval_ns,
                 std::function<void()> round);
  // Waits for the end of the round that is under way.
  ~PeriodicThread();

  // For a round that has to wait: sleeps, but not beyond the time when this is to be destroyed.
  void Sleep(int64_t ns);

 private:
  WakeEvent stop_event_;
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

}  // namespace ebb
