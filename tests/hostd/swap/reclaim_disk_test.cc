// SPDX-License-Identifier: MIT
// What reclaim does where a disk takes what the pool has no room for.
#include "tests/hostd/swap/reclaim_fixture.h"

namespace ebb {
namespace {

class ReclaimWithDiskTest : public ReclaimTest {
 protected:
  static constexpr uint64_t kPoolBytes = 2 * kMiB;
  void SetUp() override {
    Create(kPoolBytes, 64 * kMiB);
    for (uint64_t page = 0; page < kPages; ++page) memory_.Populate({page}, LargeContentOf(page));
    residency_.SetLimit(kPages / 4);
  }
  static PageContent LargeContentOf(uint64_t page) { return PartlyRandomContent(page, 1500); }
  // As RunToTheEnd, but no time passes that matters to anybody but the disk.
  void RunFor(int passes) {
    for (int pass = 0; pass < passes; ++pass) {
      barrier_.CompleteNow();
      Pass(100 * kNsPerMs);
    }
  }
};

TEST_F(ReclaimWithDiskTest, WhatThePoolHasNoRoomForGoesToTheDiskAndTheLimitIsKept) {
  disk_->SetAutomatic(true);
  RunFor(400);
  EXPECT_LE(memory_.ResidentPages(), kPages / 4);
  EXPECT_LE(pool_budget_->used_bytes(), kPoolBytes);
  EXPECT_GT(state_->stats().disk_pages, kPages / 2);
  for (uint64_t page = 0; page < kPages; page += 61) {
    ASSERT_NO_FATAL_FAILURE(ExpectGuestReads(page, LargeContentOf(page)));
  }
}

TEST_F(ReclaimWithDiskTest, SomeOfThePoolIsKeptFree) {
  disk_->SetAutomatic(true);
  RunFor(400);
  EXPECT_LE(pool_budget_->used_bytes(), kPoolBytes - kPoolBytes / 16 + 128 * 1024);
  EXPECT_FALSE(reclaim_->PoolIsFull());
}

TEST_F(ReclaimWithDiskTest, ReclaimWaitsForADiskThatStallsAndFaultsDoNot) {
  disk_->Stall(true);
  RunFor(100);
  EXPECT_TRUE(reclaim_->PoolIsFull());
  memory_.ForgetCalls();
  for (int pass = 0; pass < 50; ++pass) EXPECT_GT(Pass(kNsPerMs), 0) << "without end";
  EXPECT_LE(memory_.Calls(GuestOp::kRead).size(), 64u)
      << "what has no room is compressed for nothing";
  const uint64_t swapped = CountIn(PageState::kSwapped);
  for (uint64_t page = 0; page < kPages; ++page) {
    if (StateOf(page) != PageState::kSwapped) continue;
    ASSERT_NO_FATAL_FAILURE(ExpectGuestReads(page, LargeContentOf(page)));
  }
  EXPECT_GT(swapped, 500u);
  EXPECT_EQ(disk_->reads(), 0u);
  disk_->Stall(false);
  disk_->SetAutomatic(true);
  RunFor(400);
  EXPECT_LE(memory_.ResidentPages(), kPages / 4) << "it has recovered by itself";
}

TEST_F(ReclaimWithDiskTest, PagesThatDoNotCompressGoToTheDisk) {
  for (uint64_t page = 0; page < kPages / 2; ++page) memory_.Populate({page}, RandomContent(page));
  disk_->SetAutomatic(true);
  RunFor(600);
  EXPECT_LE(memory_.ResidentPages(), kPages / 4);
  EXPECT_EQ(state_->incompressible().pages(), 0u);
  for (uint64_t page = 0; page < kPages / 2; page += 61) {
    ASSERT_NO_FATAL_FAILURE(ExpectGuestReads(page, RandomContent(page)));
  }
}

TEST_F(ReclaimWithDiskTest, GivingUpLeavesNoPageBehind) {
  for (uint64_t page = 0; page < kPages; ++page) memory_.Populate({page}, RandomContent(page));
  disk_->Stall(true);
  RunFor(100);
  reclaim_->GiveUp();
  EXPECT_EQ(CountIn(PageState::kSwappingOut), 0u);
  EXPECT_EQ(CountIn(PageState::kGuarded), 0u);
}

TEST(PoolBudget, WhoHasMoreThanItsShareMakesRoomFirst) {
  PoolBudget budget(1600);
  budget.Join(1);
  budget.Join(3);
  ASSERT_TRUE(budget.TryTake(1500));
  EXPECT_EQ(budget.Excess(375, 1), 0u) << "there is room for what comes next";
  ASSERT_TRUE(budget.TryTake(100));
  // A quarter of 1500 is 375; 100 too many are there.
  EXPECT_EQ(budget.Excess(300, 1), 0u);
  EXPECT_EQ(budget.Excess(400, 1), 25u);
  EXPECT_EQ(budget.Excess(1300, 3), 100u);
  EXPECT_EQ(budget.Excess(1150, 3), 25u);
}

TEST(PoolBudget, WithoutAMaximumNothingMustLeave) {
  PoolBudget budget;
  budget.Join(1);
  ASSERT_TRUE(budget.TryTake(uint64_t{1} << 40));
  EXPECT_EQ(budget.Excess(uint64_t{1} << 40, 1), 0u);
}

}  // namespace
}  // namespace ebb
