// SPDX-License-Identifier: MIT
#include "hostd/swap/reclaim_plan.h"

#include <gtest/gtest.h>

#include "hostd/base/units.h"

namespace ebb {
namespace {

constexpr uint64_t kLimit = BytesToPages(1024 * kMiB);
constexpr uint64_t kTarget = kLimit - 4096;
constexpr uint64_t kMinReserve = BytesToPages(16 * kMiB);

// A VM at its target with a full reserve: nothing to do.
ReclaimSignals AtRest() {
  ReclaimSignals signals;
  signals.resident = kTarget;
  signals.target = kTarget;
  signals.limit = kLimit;
  signals.ready = kMinReserve;
  signals.barrier_interval_ns = 10 * kNsPerS;
  return signals;
}

void ExpectNothing(const ReclaimSignals& signals) {
  const ReclaimPlan plan = PlanReclaim(signals);
  EXPECT_EQ(plan.reserve_target, 0u);
  EXPECT_EQ(plan.swap_out, 0u);
  EXPECT_EQ(plan.guard, 0u);
  EXPECT_EQ(plan.cool, 0u);
  EXPECT_FALSE(plan.want_barrier);
  EXPECT_FALSE(plan.urgent);
}

TEST(PlanReclaim, VmWithoutATargetIsLeftAlone) {
  ReclaimSignals signals = AtRest();
  signals.target = UINT64_MAX;
  signals.resident = UINT64_MAX / 2;
  signals.guarded = 1000;
  ExpectNothing(signals);
}

TEST(PlanReclaim, VmBelowHalfOfItsTargetIsLeftAlone) {
  ReclaimSignals signals = AtRest();
  signals.resident = kTarget / 2 - 1;
  signals.ready = 0;
  signals.guarded = 10;
  ExpectNothing(signals);
}

TEST(PlanReclaim, VmThatFindsNoMemoryDropsItsReserveAndPreparesAnother) {
  ReclaimSignals signals = AtRest();
  signals.resident = kTarget / 2 - 1;  // where it would be left alone
  signals.no_memory = true;
  const ReclaimPlan plan = PlanReclaim(signals);
  EXPECT_EQ(plan.swap_out, signals.ready);
  EXPECT_EQ(plan.guard, kMinReserve);
  EXPECT_TRUE(plan.urgent);
}

TEST(PlanReclaim, VmWithoutATargetThatFindsNoMemoryIsNotLeftAlone) {
  ReclaimSignals signals = AtRest();
  signals.target = UINT64_MAX;
  signals.limit = UINT64_MAX;
  signals.ready = 0;
  signals.no_memory = true;
  const ReclaimPlan plan = PlanReclaim(signals);
  EXPECT_EQ(plan.swap_out, 0u);
  EXPECT_EQ(plan.guard, 2 * kMinReserve);
  EXPECT_GT(plan.cool, 0u);
  EXPECT_TRUE(plan.urgent);
}

TEST(PlanReclaim, VmAtHalfOfItsTargetPreparesAReserve) {
  ReclaimSignals signals = AtRest();
  signals.resident = kTarget / 2;
  signals.ready = 0;
  const ReclaimPlan plan = PlanReclaim(signals);
  EXPECT_EQ(plan.reserve_target, kMinReserve);
  EXPECT_EQ(plan.swap_out, 0u);
  EXPECT_EQ(plan.guard, kMinReserve);
}

TEST(PlanReclaim, VmAtItsTargetWithAFullReserveNeedsNothing) {
  const ReclaimPlan plan = PlanReclaim(AtRest());
  EXPECT_EQ(plan.reserve_target, kMinReserve);
  EXPECT_EQ(plan.swap_out, 0u);
  EXPECT_EQ(plan.guard, 0u);
  EXPECT_EQ(plan.cool, 0u);
  EXPECT_FALSE(plan.want_barrier);
  EXPECT_FALSE(plan.urgent);
}

TEST(PlanReclaim, ExcessIsSwappedOutOfTheReserve) {
  ReclaimSignals signals = AtRest();
  signals.resident = kTarget + 100;
  EXPECT_EQ(PlanReclaim(signals).swap_out, 100u);
}

TEST(PlanReclaim, NoMoreIsSwappedOutThanIsReady) {
  ReclaimSignals signals = AtRest();
  signals.resident = kTarget + 100'000;
  EXPECT_EQ(PlanReclaim(signals).swap_out, kMinReserve);
  signals.ready = 0;
  signals.guarded = 100'000;
  EXPECT_EQ(PlanReclaim(signals).swap_out, 0u) << "guarded pages wait for their barrier";
}

TEST(PlanReclaim, PagesAreGuardedForTheExcessAndTheReserve) {
  ReclaimSignals signals = AtRest();
  signals.resident = kTarget + 1000;
  signals.ready = 300;
  signals.guarded = 200;
  EXPECT_EQ(PlanReclaim(signals).guard, kMinReserve + 1000 - 300 - 200);
}

TEST(PlanReclaim, MorePagesAreCooledThanGuardedBecauseSomeAreTouched) {
  ReclaimSignals signals = AtRest();
  signals.ready = 96;
  signals.cooling = 1000;
  const uint64_t guard = kMinReserve - 96;
  EXPECT_EQ(PlanReclaim(signals).cool, guard + guard / 2 - 1000);
  signals.cooling = guard * 2;
  EXPECT_EQ(PlanReclaim(signals).cool, 0u);
}

TEST(PlanReclaim, BarrierIsWantedWhilePagesWaitForOne) {
  ReclaimSignals signals = AtRest();
  signals.guarded = 1;
  EXPECT_TRUE(PlanReclaim(signals).want_barrier);
}

// The reserve must last until the barrier after the next: what is guarded just after one starts
// waits for the whole next interval.
TEST(PlanReclaim, ReserveCoversTheInflowOfTwoBarrierIntervalsAndASecond) {
  ReclaimSignals signals = AtRest();
  signals.inflow_per_s = 5000;
  signals.barrier_interval_ns = 2 * kNsPerS;
  EXPECT_EQ(PlanReclaim(signals).reserve_target, 25'000u);
}

TEST(PlanReclaim, ReserveIsAtLeast16MiB) {
  ReclaimSignals signals = AtRest();
  signals.inflow_per_s = 1;
  EXPECT_EQ(PlanReclaim(signals).reserve_target, kMinReserve);
}

TEST(PlanReclaim, ReserveIsAtMostHalfOfTheLimit) {
  ReclaimSignals signals = AtRest();
  signals.inflow_per_s = 1'000'000;
  EXPECT_EQ(PlanReclaim(signals).reserve_target, kLimit / 2);
}

TEST(PlanReclaim, ReserveOfATinyVmIsStill16MiB) {
  ReclaimSignals signals = AtRest();
  signals.limit = 1000;
  signals.target = 744;
  signals.resident = 744;
  signals.inflow_per_s = 1'000'000;
  EXPECT_EQ(PlanReclaim(signals).reserve_target, kMinReserve);
}

TEST(PlanReclaim, UnknownOrHugeBarrierIntervalsStayInBounds) {
  ReclaimSignals signals = AtRest();
  signals.inflow_per_s = 2000;
  signals.barrier_interval_ns = 0;
  EXPECT_EQ(PlanReclaim(signals).reserve_target, 6000u);
  signals.barrier_interval_ns = INT64_MAX;
  EXPECT_EQ(PlanReclaim(signals).reserve_target, kLimit / 2);
  signals.limit = UINT64_MAX;  // a one-time target without a limit
  EXPECT_EQ(PlanReclaim(signals).reserve_target, 2000u * 121);
}

TEST(PlanReclaim, IsUrgentWhileTheReserveIsLessThanHalfFull) {
  ReclaimSignals signals = AtRest();
  signals.ready = kMinReserve / 2;
  EXPECT_FALSE(PlanReclaim(signals).urgent);
  signals.ready = kMinReserve / 2 - 1;
  EXPECT_TRUE(PlanReclaim(signals).urgent);
}

TEST(PlanReclaim, IsUrgentWhileTheExcessIsMoreThanTheReserve) {
  ReclaimSignals signals = AtRest();
  signals.resident = kTarget + kMinReserve;
  EXPECT_TRUE(PlanReclaim(signals).urgent);
}

TEST(PlanReclaim, PagesCoolForSecondsUnlessItIsUrgent) {
  ReclaimSignals signals = AtRest();
  EXPECT_EQ(PlanReclaim(signals).cool_age_ns, 3 * kNsPerS);
  signals.ready = 0;
  EXPECT_EQ(PlanReclaim(signals).cool_age_ns, kNsPerS / 2);
}

}  // namespace
}  // namespace ebb
