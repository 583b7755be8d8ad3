// SPDX-License-Identifier: MIT
#include "hostd/swap/reclaim_plan.h"

#include <algorithm>

#include "hostd/base/units.h"

namespace ebb {
namespace {

// Pages the reserve keeps at least while a VM is near its limit (design, "Limits").
constexpr uint64_t kMinReservePages = BytesToPages(16 * kMiB);
// A page that nobody touched for this long is cold; when the VM is short, the second.
constexpr int64_t kCoolAgeNs = 3 * kNsPerS;
constexpr int64_t kUrgentCoolAgeNs = kNsPerS / 2;

// Pages that come in while one part of the reserve waits for its barrier and the part before it is
// used up, and a second for cooling and for the barrier itself.
uint64_t InflowUntilReady(const ReclaimSignals& signals) {
  constexpr int64_t kMaxIntervalNs = 60 * kNsPerS;
  const int64_t interval_ns = std::clamp(signals.barrier_interval_ns, kNsPerS, kMaxIntervalNs);
  return signals.inflow_per_s * static_cast<uint64_t>(2 * interval_ns + kNsPerS) / kNsPerS;
}

uint64_t Missing(uint64_t wanted, uint64_t have) { return wanted > have ? wanted - have : 0; }

}  // namespace

ReclaimPlan PlanReclaim(const ReclaimSignals& signals) {
  ReclaimPlan plan;
  plan.cool_age_ns = kCoolAgeNs;
  // Below half of its target a VM is left alone: nothing will be needed soon. But not where its
  // threads wait for memory: its target says nothing of what its cgroup, or the host, has.
  const bool is_low = signals.target == UINT64_MAX || signals.resident < signals.target / 2;
  if (is_low && !signals.no_memory) return plan;

  uint64_t excess = Missing(signals.resident, signals.target);
  plan.swap_out = std::min(excess, signals.ready);
  if (signals.no_memory) {
    excess = std::max(excess, kMinReservePages);
    plan.swap_out = signals.ready;
  }

  // Half of the limit at most: the rest must stay for what the guest works on.
  const uint64_t most = std::max(signals.limit / 2, kMinReservePages);
  plan.reserve_target = std::clamp(InflowUntilReady(signals), kMinReservePages, most);

  const uint64_t ahead = signals.ready + signals.guarded;
  plan.guard = Missing(plan.reserve_target + excess, ahead);
  plan.cool = Missing(plan.guard + plan.guard / 2, signals.cooling);
  plan.want_barrier = signals.guarded > 0;
  plan.urgent = signals.ready < excess + plan.reserve_target / 2;
  if (plan.urgent) plan.cool_age_ns = kUrgentCoolAgeNs;
  return plan;
}

}  // namespace ebb
