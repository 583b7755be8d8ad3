// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <vector>

#include "hostd/base/units.h"

namespace ebb {

// What is known of one VM when the host's budget is shared out. Bytes.
struct BudgetSignals {
  uint64_t ram = 0;
  uint64_t weight = 100;  // of each byte of its RAM, relative to the other VMs'; not 0
  uint64_t guarantee = 0;
  uint64_t limit = UINT64_MAX;  // resident, by hand; UINT64_MAX: none
  uint64_t resident = 0;
  uint64_t swapped = 0;         // uncompressed
  uint64_t incompressible = 0;  // of what is resident: it cannot be taken
  uint64_t pool = 0;            // host memory that keeps the swapped pages
  // What that can grow to: the rest goes to a disk, which costs the host no memory. UINT64_MAX:
  // without end.
  uint64_t most_pool = UINT64_MAX;
  uint64_t bookkeeping = 0;  // host memory for page words and records
  bool steerable = true;     // false: what it has stays as it is, whatever is planned
};

struct BudgetShare {
  uint64_t host_bytes = 0;  // what the VM is to cost: resident, pool and bookkeeping together
  // What is to be resident, so that it costs that. UINT64_MAX: all of its RAM may be.
  uint64_t resident_bytes = UINT64_MAX;
};

struct BudgetPlan {
  std::vector<BudgetShare> shares;  // in the order of the signals
  // By how much the least that the VMs can be brought to exceeds the budget; 0: it does not. Of a
  // VM that is being let go of the least counts all the same: that will be over.
  uint64_t missing_bytes = 0;
};

// What a VM that was given no guarantee keeps resident: in less than this a Linux guest does not
// run, and its QEMU does not either.
inline constexpr uint64_t kLeastResidentBytes = 32 * kMiB;

// Shares `budget_bytes` out. Each VM gets a part by its weight and the size of its RAM: not more
// than it has use for, not less than its guarantee costs, nor, where that is possible, a quarter of
// what it uses. What some do not need goes to the others. Where everything fits, the rest is room
// to grow into, by weight as well. Guarantees come first: a plan may exceed the budget for their
// sake (`missing_bytes`), and for what does not compress. Pure.
BudgetPlan PlanBudget(uint64_t budget_bytes, const std::vector<BudgetSignals>& vms);

}  // namespace ebb
