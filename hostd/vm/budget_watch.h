// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

#include "hostd/os/periodic_thread.h"
#include "hostd/vm/registry.h"

namespace ebb {

// Plans ten times a second what each VM may have of the host's budget, if there is one. A thread of
// its own.
class BudgetWatch {
 public:
  // `registry` must outlive this.
  explicit BudgetWatch(Registry* registry);

 private:
  void Note(uint64_t missing_bytes);

  Registry* const registry_;
  bool short_ = false;  // budget thread only, as the next
  int rounds_enough_ = 0;
  PeriodicThread thread_;  // after all that it uses
};

// One round of it. By how many bytes the plan exceeds the budget.
uint64_t ShareBudgetOut(Registry& registry);

}  // namespace ebb
