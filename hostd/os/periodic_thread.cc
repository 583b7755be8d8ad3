// SPDX-License-Identifier: MIT
#include "hostd/os/periodic_thread.h"

#include <utility>

#include "hostd/base/wait_checks.h"

namespace ebb {

PeriodicThread::PeriodicThread(const char* name, ThreadRole role, int64_t interval_ns,
                               std::function<void()> round) {
  thread_ = std::thread([this, name, role, interval_ns, round = std::move(round)] {
    EnterThreadRole(name, role);
    while (!stopping_.load()) {
      round();
      Sleep(interval_ns);
    }
  });
}

PeriodicThread::~PeriodicThread() {
  stopping_.store(true);
  stop_event_.Set();
  MayWait("for a periodic thread to end");
  thread_.join();
}

void PeriodicThread::Sleep(int64_t ns) { WaitReadable(stop_event_.fd(), stop_event_, ns); }

}  // namespace ebb
