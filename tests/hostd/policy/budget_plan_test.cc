// SPDX-License-Identifier: MIT
#include "hostd/policy/budget_plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <random>
#include <vector>

#include "hostd/base/units.h"

namespace ebb {
namespace {

// A guest that uses all of its RAM, half of it swapped out, 2:1 compressed.
BudgetSignals Greedy(uint64_t ram_bytes) {
  BudgetSignals vm;
  vm.ram = ram_bytes;
  vm.resident = ram_bytes / 2;
  vm.swapped = ram_bytes / 2;
  vm.pool = ram_bytes / 4;
  return vm;
}

BudgetSignals Small(uint64_t ram_bytes, uint64_t used_bytes) {
  BudgetSignals vm;
  vm.ram = ram_bytes;
  vm.resident = used_bytes;
  return vm;
}

uint64_t HostBytes(const BudgetPlan& plan) {
  uint64_t sum = 0;
  for (const BudgetShare& share : plan.shares) sum += share.host_bytes;
  return sum;
}

// What a VM costs once as much is resident as planned, if what is out keeps compressing so well.
uint64_t CostAfter(const BudgetSignals& vm, const BudgetShare& share) {
  const uint64_t used = vm.resident + vm.swapped;
  const uint64_t resident = std::min(used, share.resident_bytes);
  const double pool_share =
      vm.swapped == 0 ? 0.5 : static_cast<double>(vm.pool) / static_cast<double>(vm.swapped);
  return resident + vm.bookkeeping +
         static_cast<uint64_t>(pool_share * static_cast<double>(used - resident));
}

void ExpectNear(uint64_t actual, uint64_t expected) {
  EXPECT_NEAR(static_cast<double>(actual) / kMiB, static_cast<double>(expected) / kMiB, 1.0);
}

TEST(PlanBudget, NoVmNeedsNothing) {
  const BudgetPlan plan = PlanBudget(1024 * kMiB, {});
  EXPECT_TRUE(plan.shares.empty());
  EXPECT_EQ(plan.missing_bytes, 0u);
}

TEST(PlanBudget, WhereAllRamFitsNobodyIsHeldBack) {
  const BudgetPlan plan = PlanBudget(4096 * kMiB, {Greedy(1024 * kMiB), Small(2048 * kMiB, kMiB)});
  for (const BudgetShare& share : plan.shares) EXPECT_EQ(share.resident_bytes, UINT64_MAX);
}

TEST(PlanBudget, AlikeVmsShareEquallyAndUseAllOfIt) {
  const std::vector<BudgetSignals> vms(3, Greedy(1024 * kMiB));
  const BudgetPlan plan = PlanBudget(2048 * kMiB, vms);
  EXPECT_EQ(plan.missing_bytes, 0u);
  ExpectNear(HostBytes(plan), 2048 * kMiB);
  for (const BudgetShare& share : plan.shares) {
    ExpectNear(share.host_bytes, 2048 * kMiB / 3);
    EXPECT_EQ(share.resident_bytes, plan.shares[0].resident_bytes);
  }
}

TEST(PlanBudget, WhatIsResidentAndItsPoolCostWhatIsPlanned) {
  std::vector<BudgetSignals> vms = {Greedy(1024 * kMiB), Greedy(1024 * kMiB)};
  vms[0].bookkeeping = 20 * kMiB;
  vms[1].pool = vms[1].swapped / 5;
  const BudgetPlan plan = PlanBudget(1300 * kMiB, vms);
  for (size_t i = 0; i < vms.size(); ++i) {
    const double cost = static_cast<double>(CostAfter(vms[i], plan.shares[i]));
    EXPECT_NEAR(cost / static_cast<double>(plan.shares[i].host_bytes), 1.0, 0.03) << i;
  }
  EXPECT_GT(plan.shares[1].resident_bytes, plan.shares[0].resident_bytes) << "it compresses better";
}

TEST(PlanBudget, WeightsAndSizesDecide) {
  std::vector<BudgetSignals> vms = {Greedy(1024 * kMiB), Greedy(1024 * kMiB), Greedy(2048 * kMiB)};
  for (BudgetSignals& vm : vms) vm.pool = 0;  // so that no least stands in the way
  vms[1].weight = 200;
  const BudgetPlan plan = PlanBudget(1500 * kMiB, vms);
  ExpectNear(plan.shares[0].host_bytes, 300 * kMiB);
  ExpectNear(plan.shares[1].host_bytes, 600 * kMiB);
  ExpectNear(plan.shares[2].host_bytes, 600 * kMiB);
}

TEST(PlanBudget, WhatOneDoesNotUseGoesToTheOthers) {
  const BudgetPlan plan =
      PlanBudget(1100 * kMiB, {Small(1024 * kMiB, 100 * kMiB), Greedy(1024 * kMiB)});
  ExpectNear(plan.shares[0].host_bytes, 132 * kMiB);  // and 32 MiB to grow into
  ExpectNear(plan.shares[0].resident_bytes, 132 * kMiB);
  ExpectNear(plan.shares[1].host_bytes, 968 * kMiB);
}

TEST(PlanBudget, WhileAllThatIsUsedFitsNothingIsTaken) {
  std::vector<BudgetSignals> vms(101, Small(1024 * kMiB, 300 * kMiB));
  vms[0] = Small(64 * 1024 * kMiB, 40000 * kMiB);
  const BudgetPlan plan = PlanBudget(71000 * kMiB, vms);
  for (size_t i = 0; i < vms.size(); ++i) {
    ASSERT_GE(plan.shares[i].resident_bytes, vms[i].resident) << i;
  }
}

TEST(PlanBudget, WhereAllIsUsedFitsTheRestIsRoomToGrowInto) {
  const BudgetPlan plan =
      PlanBudget(1024 * kMiB, {Small(1024 * kMiB, 100 * kMiB), Small(1024 * kMiB, 300 * kMiB)});
  ExpectNear(plan.shares[0].resident_bytes, 512 * kMiB);
  ExpectNear(plan.shares[1].resident_bytes, 512 * kMiB);
}

TEST(PlanBudget, GuaranteeComesFirst) {
  std::vector<BudgetSignals> vms(3, Greedy(1024 * kMiB));
  vms[2].guarantee = 700 * kMiB;
  const BudgetPlan plan = PlanBudget(2048 * kMiB, vms);
  EXPECT_EQ(plan.missing_bytes, 0u);
  EXPECT_GE(plan.shares[2].resident_bytes, 700 * kMiB);
  EXPECT_LT(plan.shares[0].resident_bytes, 400 * kMiB);
  ExpectNear(HostBytes(plan), 2048 * kMiB);
}

TEST(PlanBudget, UnusedGuaranteeIsLentAndMayBeTakenBack) {
  std::vector<BudgetSignals> vms = {Small(1024 * kMiB, 100 * kMiB), Greedy(1024 * kMiB)};
  vms[0].guarantee = 600 * kMiB;
  const BudgetPlan plan = PlanBudget(1000 * kMiB, vms);
  EXPECT_EQ(plan.missing_bytes, 0u);
  EXPECT_EQ(plan.shares[0].resident_bytes, 600 * kMiB);
  ExpectNear(plan.shares[1].host_bytes, (1000 - 132) * kMiB);
}

TEST(PlanBudget, BudgetThatIsTooSmallIsSaidToBe) {
  std::vector<BudgetSignals> vms(2, Greedy(1024 * kMiB));
  for (BudgetSignals& vm : vms) vm.guarantee = 600 * kMiB;
  const BudgetPlan plan = PlanBudget(1024 * kMiB, vms);
  // 600 MiB resident, and half of the other 424.
  ExpectNear(plan.missing_bytes, 2 * (600 + 212) * kMiB - 1024 * kMiB);
  for (const BudgetShare& share : plan.shares) EXPECT_GE(share.resident_bytes, 600 * kMiB);
}

TEST(PlanBudget, NobodyIsPlannedBelowWhatAGuestCanRunIn) {
  const BudgetPlan plan = PlanBudget(64 * kMiB, {Greedy(1024 * kMiB), Greedy(1024 * kMiB)});
  EXPECT_GT(plan.missing_bytes, 0u);
  for (const BudgetShare& share : plan.shares) EXPECT_EQ(share.resident_bytes, kLeastResidentBytes);
}

TEST(PlanBudget, LimitByHandLeavesTheRestToOthers) {
  std::vector<BudgetSignals> vms(2, Greedy(1024 * kMiB));
  vms[0].limit = 200 * kMiB;
  const BudgetPlan plan = PlanBudget(1400 * kMiB, vms);
  // 200 MiB resident, and half of the other 824.
  ExpectNear(plan.shares[0].host_bytes, 612 * kMiB);
  ExpectNear(plan.shares[1].host_bytes, 788 * kMiB);
}

TEST(PlanBudget, PagesThatDoNotCompressAreNotTakenInVain) {
  std::vector<BudgetSignals> vms(2, Greedy(1024 * kMiB));
  vms[0].resident = 924 * kMiB;
  vms[0].swapped = 100 * kMiB;
  vms[0].pool = 50 * kMiB;
  vms[0].incompressible = 800 * kMiB;
  const BudgetPlan plan = PlanBudget(1600 * kMiB, vms);
  EXPECT_EQ(plan.missing_bytes, 0u);
  EXPECT_GE(plan.shares[0].resident_bytes, 820 * kMiB) << "what stays anyway, and a little more";
  ExpectNear(HostBytes(plan), 1600 * kMiB);
  // 820 MiB of the first and half of the rest, and of the second 32 MiB and half of the rest.
  ExpectNear(PlanBudget(1300 * kMiB, vms).missing_bytes, (820 + 102 + 528 - 1300) * kMiB);
}

TEST(PlanBudget, PoolThatIsSparseForAMomentDoesNotUpsetThePlan) {
  std::vector<BudgetSignals> vms(2, Greedy(1024 * kMiB));
  vms[0].pool = vms[0].swapped * 2;
  const BudgetPlan plan = PlanBudget(1600 * kMiB, vms);
  for (const BudgetShare& share : plan.shares) {
    EXPECT_GE(share.resident_bytes, 32 * kMiB);
    EXPECT_LE(share.resident_bytes, 1024 * kMiB);
  }
}

// What is swapped out beyond the pool's most goes to the disk.
TEST(PlanBudget, WhatIsOnTheDiskCostsNothing) {
  std::vector<BudgetSignals> vms(1, Greedy(4096 * kMiB));
  vms[0].resident = 1024 * kMiB;
  vms[0].swapped = 3072 * kMiB;
  vms[0].pool = vms[0].most_pool = 256 * kMiB;
  BudgetPlan plan = PlanBudget(1024 * kMiB, vms);
  EXPECT_EQ(plan.missing_bytes, 0u);
  ExpectNear(plan.shares[0].resident_bytes, (1024 - 256) * kMiB);
  // And back, where there is more: the pool stays as it is, since what comes back came from the
  // disk.
  plan = PlanBudget(2048 * kMiB, vms);
  EXPECT_GE(plan.shares[0].resident_bytes, (2048 - 256) * kMiB);
}

// Before anything is swapped out: with a disk there will be room for all of it.
TEST(PlanBudget, BudgetIsLargeEnoughWhereADiskTakesTheRest) {
  std::vector<BudgetSignals> vms(2, Small(4096 * kMiB, 4096 * kMiB));
  EXPECT_GT(PlanBudget(1024 * kMiB, vms).missing_bytes, 2048 * kMiB);
  for (BudgetSignals& vm : vms) vm.most_pool = 128 * kMiB;
  const BudgetPlan plan = PlanBudget(1024 * kMiB, vms);
  EXPECT_EQ(plan.missing_bytes, 0u);
  for (const BudgetShare& share : plan.shares) {
    ExpectNear(share.host_bytes, 512 * kMiB);
    ExpectNear(share.resident_bytes, (512 - 128) * kMiB);
  }
}

TEST(PlanBudget, PoolThatIsLargerThanItsMostCostsWhatItTakes) {
  std::vector<BudgetSignals> vms(1, Greedy(4096 * kMiB));
  vms[0].most_pool = 128 * kMiB;  // 1 GiB now, as long as the others need none
  ExpectNear(PlanBudget(2048 * kMiB, vms).shares[0].resident_bytes, 1024 * kMiB);
}

TEST(PlanBudget, VmThatCompressesBadlyKeepsAQuarterOfWhatItUses) {
  std::vector<BudgetSignals> vms(2, Greedy(8192 * kMiB));
  vms[0].pool = vms[0].swapped * 3 / 5;
  vms[1].pool = vms[1].swapped / 4;
  const BudgetPlan plan = PlanBudget(9800 * kMiB, vms);
  ExpectNear(plan.shares[0].resident_bytes, 2048 * kMiB);
  EXPECT_GT(plan.shares[1].resident_bytes, 2048 * kMiB);
  ExpectNear(HostBytes(plan), 9800 * kMiB);
}

TEST(PlanBudget, WhereAQuarterDoesNotFitAllKeepTheSamePartOfWhatTheyUse) {
  std::vector<BudgetSignals> vms = {Greedy(8192 * kMiB), Greedy(1024 * kMiB)};
  vms[1].weight = 10000;
  const BudgetPlan plan = PlanBudget(5200 * kMiB, vms);
  EXPECT_EQ(plan.missing_bytes, 0u);
  ExpectNear(plan.shares[0].resident_bytes, 8 * plan.shares[1].resident_bytes);
  ExpectNear(HostBytes(plan), 5200 * kMiB);
}

TEST(PlanBudget, VmThatIsBeingLetGoCountsAsAllThatItUses) {
  std::vector<BudgetSignals> vms(2, Greedy(1024 * kMiB));
  vms[0].steerable = false;
  const BudgetPlan plan = PlanBudget(1700 * kMiB, vms);
  EXPECT_EQ(plan.shares[0].resident_bytes, UINT64_MAX);
  ExpectNear(plan.shares[0].host_bytes, 1024 * kMiB);
  ExpectNear(plan.shares[1].host_bytes, 676 * kMiB);
}

TEST(PlanBudget, AnyVmsGetAtLeastTheirGuaranteesAndTogetherNoMoreThanTheBudget) {
  const unsigned seed = std::random_device()();
  SCOPED_TRACE(seed);
  std::mt19937_64 random(seed);
  const auto upto = [&](uint64_t most) { return random() % (most + 1); };
  for (int round = 0; round < 2000; ++round) {
    std::vector<BudgetSignals> vms(1 + upto(20));
    for (BudgetSignals& vm : vms) {
      vm.ram = (64 + upto(64 * 1024)) * kMiB;
      vm.weight = 1 + upto(9999);
      vm.resident = upto(vm.ram);
      vm.swapped = upto(vm.ram - vm.resident);
      vm.pool = upto(vm.swapped + vm.swapped / 8);
      vm.bookkeeping = vm.ram / 170;
      if (upto(3) == 0) vm.limit = (32 + upto(64 * 1024)) * kMiB;
      if (upto(3) == 0) vm.guarantee = upto(std::min(vm.ram, vm.limit));
    }
    const uint64_t budget = (32 + upto(512 * 1024)) * kMiB;
    const BudgetPlan plan = PlanBudget(budget, vms);
    ASSERT_EQ(plan.shares.size(), vms.size());
    for (size_t i = 0; i < vms.size(); ++i) {
      ASSERT_GE(plan.shares[i].resident_bytes, vms[i].guarantee);
      ASSERT_GE(plan.shares[i].resident_bytes, std::min(vms[i].ram, kLeastResidentBytes));
    }
    ASSERT_LE(HostBytes(plan), budget + plan.missing_bytes + kMiB);
  }
}

}  // namespace
}  // namespace ebb
