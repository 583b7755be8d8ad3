// SPDX-License-Identifier: MIT
#include "hostd/swap/reclaim_plan.h"

#include <algorithm>

#include "hostd/base/units.h"

namespace ebb {
namespace {

// Pages the reserve keeps at least while a VM is near its limit (design, "Limits").
constexpr uint64_t kMinReservePages = BytesToPages(16 * kMiB);
// Seconds of inflow the reserve must last: a page is guarded for up to one barrier interval (1 s
// when urgent) plus the barrier, and the one before it is being used up meanwhile.
constexpr uint64_t kReserveSeconds = 3;
// A page that nobody touched for this long is cold; when the VM is short, the second.
constexpr int64_t kCoolAgeNs = 3 * kNsPerS;
constexpr int64_t kUrgentCoolAgeNs = kNsPerS / 2;

uint64_t Missing(uint64_t wanted, uint64_t have) { return wanted > have ? wanted - have : 0; }

}  // namespace

ReclaimPlan PlanReclaim(const ReclaimSignals& signals) {
  ReclaimPlan plan;
  plan.cool_age_ns = kCoolAgeNs;
  // Below half of its target a VM is left alone: nothing will be needed soon.
  if (signals.target == UINT64_MAX || signals.resident < signals.target / 2) return plan;

  const uint64_t excess = Missing(signals.resident, signals.target);
  plan.swap_out = std::min(excess, signals.ready);

  // Half of the limit at most: the rest must stay for what the guest works on.
  const uint64_t most = std::max(signals.limit / 2, kMinReservePages);
  plan.reserve_target = std::clamp(signals.inflow_per_s * kReserveSeconds, kMinReservePages, most);

  const uint64_t ahead = signals.ready + signals.guarded;
  plan.guard = Missing(plan.reserve_target + excess, ahead);
  plan.cool = Missing(plan.guard + plan.guard / 2, signals.cooling);
  plan.want_barrier = signals.guarded > 0;
  plan.urgent = signals.ready < excess + plan.reserve_target / 2;
  if (plan.urgent) plan.cool_age_ns = kUrgentCoolAgeNs;
  return plan;
}

}  // namespace ebb
