// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <thread>

#include "hostd/os/wake_event.h"
#include "hostd/vm/registry.h"

namespace ebb {

// Looks every few seconds whether the attached VMs may still be managed, and detaches those that
// may not: everything is brought back. A thread of its own, because it reads much of /proc: one
// scan of all processes serves all VMs.
class ConditionWatch {
 public:
  // `registry` must outlive this.
  explicit ConditionWatch(Registry* registry);
  ~ConditionWatch();

 private:
  void Run();
  void CheckAll();

  Registry* const registry_;
  WakeEvent stop_event_;
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

}  // namespace ebb
