// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <thread>

#include "hostd/os/wake_event.h"
#include "hostd/vm/registry.h"

namespace ebb {

// Plans ten times a second what each VM may have of the host's budget, if there is one. A thread of
// its own.
class BudgetWatch {
 public:
  // `registry` must outlive this.
  explicit BudgetWatch(Registry* registry);
  ~BudgetWatch();

 private:
  void Run();
  void Note(uint64_t missing_bytes);

  Registry* const registry_;
  WakeEvent stop_event_;
  std::atomic<bool> stopping_{false};
  bool short_ = false;  // budget thread only, as the next
  int rounds_enough_ = 0;
  std::thread thread_;
};

// One round of it. By how many bytes the plan exceeds the budget.
uint64_t ShareBudgetOut(Registry& registry);

}  // namespace ebb
