// SPDX-License-Identifier: MIT
// What reclaim does where the pool does not take a page.
#include "tests/hostd/swap/reclaim_fixture.h"

namespace ebb {
namespace {

class ReclaimWithSmallPoolTest : public ReclaimTest {
 protected:
  static constexpr uint64_t kPoolBytes = 2 * kMiB;
  void SetUp() override { Create(kPoolBytes); }
  static PageContent LargeContentOf(uint64_t page) { return PartlyRandomContent(page, 1500); }
};

TEST_F(ReclaimWithSmallPoolTest, WhatHasNoRoomInThePoolStaysResidentAndIsNotTriedAllTheTime) {
  for (uint64_t page = 0; page < kPages; ++page) memory_.Populate({page}, LargeContentOf(page));
  residency_.SetLimit(kPages / 4);
  RunToTheEnd();
  EXPECT_TRUE(reclaim_->PoolIsFull());
  EXPECT_LE(state_->pool().stats().used_bytes, kPoolBytes);
  EXPECT_GT(state_->pool().stats().object_bytes, kPoolBytes * 8 / 10);
  memory_.ForgetCalls();
  for (int pass = 0; pass < 10; ++pass) EXPECT_GT(Pass(10 * kNsPerMs), 0) << "without end";
  EXPECT_LE(memory_.Calls(GuestOp::kRead).size(), 64u);
}

TEST_F(ReclaimWithSmallPoolTest, NoMemoryAndNoRoomInThePoolIsNotTriedAllTheTime) {
  for (uint64_t page = 0; page < kPages; ++page) memory_.Populate({page}, LargeContentOf(page));
  residency_.SetLimit(kPages + 1000);
  for (int pass = 0; pass < 50 && !reclaim_->PoolIsFull(); ++pass) {
    residency_.NoteNoMemory();
    barrier_.CompleteNow();
    Pass();
  }
  ASSERT_TRUE(reclaim_->PoolIsFull());
  EXPECT_GT(Pass(10 * kNsPerMs), 0);
  // Each of these is a fault that tries again.
  memory_.ForgetCalls();
  for (int pass = 0; pass < 10; ++pass) {
    residency_.NoteNoMemory();
    Pass(2 * kNsPerMs);
    EXPECT_GT(Pass(0), 0) << "without end";
  }
  EXPECT_LE(memory_.Calls(GuestOp::kRead).size(), 64u);
}

TEST_F(ReclaimWithSmallPoolTest, ReclaimGoesOnWhenThePoolHasRoomAgain) {
  for (uint64_t page = 0; page < kPages; ++page) memory_.Populate({page}, LargeContentOf(page));
  residency_.SetLimit(kPages / 4);
  RunToTheEnd();
  const uint64_t swapped_out = state_->stats().swapped_out;
  uint64_t freed = 0;
  for (uint64_t page = 0; page < kPages && freed < 500; ++page) {
    if (StateOf(page) != PageState::kSwapped) continue;
    ASSERT_NO_FATAL_FAILURE(ExpectGuestReads(page, LargeContentOf(page)));
    ++freed;
  }
  RunToTheEnd();
  EXPECT_GT(state_->stats().swapped_out, swapped_out + 400);
}

TEST_F(ReclaimWithSmallPoolTest, PoolIsNotFullAnyMoreOnceNothingIsToBeStored) {
  for (uint64_t page = 0; page < kPages; ++page) memory_.Populate({page}, LargeContentOf(page));
  residency_.SetLimit(kPages / 4);
  RunToTheEnd();
  ASSERT_TRUE(reclaim_->PoolIsFull());
  residency_.SetLimit(kPages * 2);
  Pass();
  EXPECT_FALSE(reclaim_->PoolIsFull());
}

TEST_F(ReclaimTest, PagesThatDoNotCompressAreTriedOnceInEightRounds) {
  for (uint64_t page = 0; page < kPages; ++page) {
    memory_.Populate({page}, page < kPages / 2 ? RandomContent(page) : ContentOf(page));
  }
  residency_.SetLimit(kPages / 4);
  RunToTheEnd();
  EXPECT_EQ(memory_.ResidentPages(), kPages / 2) << "only what compresses is out";
  EXPECT_EQ(state_->incompressible().pages(), kPages / 2);
  EXPECT_EQ(state_->pool().stats().objects, kPages / 2);
  // Eight rounds of at least 10 s.
  memory_.ForgetCalls();
  for (int pass = 0; pass < 85; ++pass) {
    barrier_.CompleteNow();
    Pass();
  }
  EXPECT_LE(memory_.Calls(GuestOp::kRead).size(), kPages / 2 * 9 / 8);
  EXPECT_GE(memory_.Calls(GuestOp::kRead).size(), kPages / 2 * 6 / 8);
  // They compress by now.
  for (uint64_t page = 0; page < kPages / 2; ++page) memory_.Populate({page}, ContentOf(page));
  RunToTheEnd();
  EXPECT_LE(memory_.ResidentPages(), kPages / 4);
  EXPECT_LE(state_->incompressible().pages(), kPages / 4) << "those that nobody has tried again";
}

TEST_F(ReclaimTest, PagesThatAreGoneDoNotCountAsIncompressible) {
  for (uint64_t page = 0; page < kPages; ++page) memory_.Populate({page}, RandomContent(page));
  residency_.SetLimit(kPages * 3 / 4);
  RunToTheEnd();
  ASSERT_GT(state_->incompressible().pages(), kPages / 4);
  memory_.Discard({{0}, kPages / 2});
  ServeFaults();
  // Over its limit again, so that the hand goes round.
  residency_.SetLimit(kPages / 4);
  RunToTheEnd();
  EXPECT_EQ(state_->incompressible().pages(), kPages / 2);
}

}  // namespace
}  // namespace ebb
