// SPDX-License-Identifier: MIT
#include "hostd/swap/discard.h"

#include <gtest/gtest.h>

#include "tests/hostd/swap/swap_fixture.h"

namespace ebb {
namespace {

class DiscardTest : public SwapTest {
 protected:
  void Discard(uint64_t page, uint64_t count = 1) {
    DiscardPages(&memory_, state_, {{page}, count});
  }
  void ExpectIgnored(uint64_t page) {
    const PageWord before = Word(page);
    const PageContent content = memory_.Content({page});
    memory_.ForgetCalls();
    Discard(page);
    EXPECT_EQ(Word(page), before);
    EXPECT_EQ(memory_.Content({page}), content) << "a discard never zeroes";
    EXPECT_EQ(state_->stats().discarded, 0u);
    for (const GuestOp op : {GuestOp::kPunch, GuestOp::kFill, GuestOp::kFillZero,
                             GuestOp::kUnprotect, GuestOp::kWake}) {
      EXPECT_TRUE(memory_.Calls(op).empty()) << GuestOpName(op);
    }
  }
  uint64_t CopiesKept() {
    state_->ReapRetired();
    return state_->pool().stats().objects;
  }
};

TEST_F(DiscardTest, SwappedPageGivesItsRecordUpAndReadsZero) {
  SwapOut(3);
  Discard(3);
  EXPECT_EQ(Word(3), PageWord(PageState::kResident, 1, {}));
  EXPECT_EQ(CopiesKept(), 0u);
  EXPECT_EQ(state_->stats().discarded, 1u);
  ExpectGuestReads(3, PageContent{});
}

TEST_F(DiscardTest, ResidentPageIsIgnored) { ExpectIgnored(3); }

TEST_F(DiscardTest, HoleThatWasNeverUsedIsIgnored) {
  memory_.Discard({{3}, 1});
  ReadMessages();
  ExpectIgnored(3);
}

TEST_F(DiscardTest, CoolingPageIsIgnored) {
  Cool(3);
  ExpectIgnored(3);
}

TEST_F(DiscardTest, GuardedPageIsIgnored) {
  Guard(3);
  ExpectIgnored(3);
}

TEST_F(DiscardTest, PageThatIsBeingStoredIsIgnored) {
  Store(3);
  ExpectIgnored(3);
}

TEST_F(DiscardTest, PageInFixingIsIgnored) {
  Claim(3, {PageState::kFixing});
  ExpectIgnored(3);
  Leave(3, PageState::kResident);
}

TEST_F(DiscardTest, DroppingPageIsMarkedForItsOwner) {
  expect_at_rest_ = false;
  OwnDropping(3);
  Discard(3);
  EXPECT_EQ(StateOf(3), PageState::kDropping);
  EXPECT_TRUE(Word(3).discarded());
}

TEST_F(DiscardTest, PageOnItsWayInIsMarkedForItsOwner) {
  expect_at_rest_ = false;
  OwnSwappingIn(3);
  Discard(3);
  EXPECT_EQ(StateOf(3), PageState::kSwappingIn);
  EXPECT_TRUE(Word(3).discarded());
}

TEST_F(DiscardTest, LostPageIsGivenUpAndItsThreadsGoOn) {
  Lose(3);
  const auto thread = StartRead(3);
  ReadMessages();
  Discard(3);
  EXPECT_EQ(StateOf(3), PageState::kResident);
  EXPECT_EQ(state_->stats().lost_pages, 0u);
  EXPECT_EQ(CopiesKept(), 0u);
  ServeAll();
  ASSERT_FALSE(memory_.Blocked(thread));
  EXPECT_EQ(memory_.ContentRead(thread), PageContent{});
}

TEST_F(DiscardTest, WholeRangeIsDiscardedAndNothingBesideIt) {
  for (uint64_t page = 10; page < 20; ++page) SwapOut(page);
  Discard(12, 5);
  for (uint64_t page = 10; page < 20; ++page) {
    const bool inside = page >= 12 && page < 17;
    EXPECT_EQ(StateOf(page), inside ? PageState::kResident : PageState::kSwapped) << page;
  }
  EXPECT_EQ(CopiesKept(), 5u);
  ExpectGuestReads(11, ContentOf(11));
  ExpectGuestReads(17, ContentOf(17));
}

TEST_F(DiscardTest, SecondDiscardOfAPageDoesNothing) {
  SwapOut(3);
  Discard(3);
  ExpectGuestReads(3, PageContent{});
  const PageWord before = Word(3);
  Discard(3);
  EXPECT_EQ(Word(3), before);
  EXPECT_EQ(state_->stats().discarded, 1u);
}

TEST_F(DiscardTest, TryDiscardLeavesAPageWhoseWordIsAnother) {
  const PageWord swapped = SwapOut(3);
  ExpectGuestReads(3, ContentOf(3));
  const PageWord again = SwapOut(3);
  EXPECT_FALSE(TryDiscard(&memory_, state_, {3}, swapped));
  EXPECT_EQ(Word(3), again);
  EXPECT_TRUE(TryDiscard(&memory_, state_, {3}, again));
  ExpectGuestReads(3, PageContent{});
}

// A balloon inflates under a page in each stage of its way out, and deflates again.
TEST_F(DiscardTest, BalloonUnderASwapOutGivesOldContentOrZeros) {
  const StoredPage stored = Store(3);
  memory_.Discard({{3}, 1});
  ServeAll();
  DropPages(&memory_, state_, {&stored, 1});
  ExpectGuestReads(3, ContentOf(3));

  const ClaimedPage guarded = Guard(4);
  memory_.Discard({{4}, 1});
  ServeAll();
  std::vector<StoredPage> stored_after;
  std::vector<ClaimedPage> give_back;
  store_pages_->Run({&guarded, 1}, &stored_after, &give_back);
  DropPages(&memory_, state_, stored_after);
  GivePagesBack(&memory_, state_, give_back);
  ExpectGuestReads(4, PageContent{});
}

}  // namespace
}  // namespace ebb
