// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

namespace ebb {

// What reclaim knows when it decides what to do next. Pages unless named otherwise.
struct ReclaimSignals {
  uint64_t resident = 0;
  uint64_t target = UINT64_MAX;  // residency to keep at or below; UINT64_MAX: nothing to do
  uint64_t limit = UINT64_MAX;
  uint64_t cooling = 0;
  uint64_t guarded = 0;
  uint64_t ready = 0;
  uint64_t inflow_per_s = 0;        // pages that became resident lately: swap-ins, first touches
  int64_t barrier_interval_ns = 0;  // how far apart I/O barriers are
  bool no_memory = false;           // a page found none, in the VM's cgroup or on the host
};

struct ReclaimPlan {
  uint64_t reserve_target = 0;
  uint64_t swap_out = 0;    // pages to take from the ready reserve now
  uint64_t guard = 0;       // pages to move from Cooling to Guarded
  uint64_t cool = 0;        // pages to move from Resident to Cooling
  int64_t cool_age_ns = 0;  // how long a page must have cooled untouched
  bool want_barrier = false;
  bool urgent = false;  // the VM is short: barriers may come more often
};

// Sizes the pipeline Resident -> Cooling -> Guarded -> ready so that the reserve covers what comes
// in until the next barrier. Pure.
ReclaimPlan PlanReclaim(const ReclaimSignals& signals);

}  // namespace ebb
