// SPDX-License-Identifier: MIT
#include "hostd/swap/swap_in.h"

#include <gtest/gtest.h>

#include "hostd/swap/discard.h"
#include "tests/hostd/swap/swap_fixture.h"

namespace ebb {
namespace {

class SwapInTest : public SwapTest {
 protected:
  PageOutcome RunOn(uint64_t page) { return RunOn(page, Word(page)); }
  PageOutcome RunOn(uint64_t page, PageWord word) {
    return SwapIn(&memory_, state_).Run({page}, word);
  }
  uint64_t CopiesKept() {
    state_->ReapRetired();
    return state_->pool().stats().objects;
  }
};

TEST_F(SwapInTest, PageIsBackWithItsContentAndWakesWhoWaits) {
  SwapOut(3);
  const auto thread = StartRead(3);
  ASSERT_TRUE(memory_.Blocked(thread));
  EXPECT_EQ(RunOn(3), PageOutcome::kServed);
  ASSERT_FALSE(memory_.Blocked(thread));
  EXPECT_EQ(memory_.ContentRead(thread), ContentOf(3));
  EXPECT_EQ(Word(3), PageWord(PageState::kResident, 1, {}));
  EXPECT_EQ(state_->stats().swapped_in, 1u);
}

TEST_F(SwapInTest, PageIsWritableAtOnce) {
  SwapOut(3);
  RunOn(3);
  EXPECT_FALSE(memory_.Look({3}).write_protected);
  EXPECT_FALSE(memory_.Blocked(StartWrite(3)));
}

TEST_F(SwapInTest, RecordIsKeptUntilThePageIsInPlace) {
  SwapOut(3);
  memory_.BeforeNext(GuestOp::kFill, [&] { EXPECT_EQ(CopiesKept(), 1u); });
  memory_.AfterNext(GuestOp::kFill, [&] {
    EXPECT_EQ(CopiesKept(), 1u) << "freed before the word says Resident";
    EXPECT_EQ(StateOf(3), PageState::kSwappingIn);
  });
  RunOn(3);
  EXPECT_EQ(CopiesKept(), 0u);
}

// Its punch failed, so it never left; then a balloon took it, after Fill had found it.
TEST_F(SwapInTest, PageThatIsDiscardedBeforeItIsComparedIsNotLost) {
  memory_.FailNext(GuestOp::kPunch, OsResult::kFailed);
  SwapOut(3);
  memory_.AfterNext(GuestOp::kFill, [&] { memory_.PunchByGuest({{3}, 1}); });
  EXPECT_EQ(RunOn(3), PageOutcome::kServed);
  EXPECT_EQ(StateOf(3), PageState::kResident);
}

// As where another process allocated it by fallocate: no data for SEEK_DATA, but there for Fill.
TEST_F(SwapInTest, HoleThatCannotBeFilledIsHeldWithAReason) {
  SwapOut(3);
  memory_.FailNext(GuestOp::kFill, OsResult::kExists, 2);
  EXPECT_EQ(RunOn(3), PageOutcome::kLost);
  EXPECT_EQ(StateOf(3), PageState::kLost);
}

TEST_F(SwapInTest, SameFilledPageComesBack) {
  memory_.Populate({4}, FilledWith(std::byte{0x5a}));
  SwapOut(4);
  EXPECT_EQ(RunOn(4), PageOutcome::kServed);
  EXPECT_EQ(memory_.Content({4}), FilledWith(std::byte{0x5a}));
}

TEST_F(SwapInTest, ZeroPageComesBackFromItsWordAlone) {
  memory_.Populate({4}, PageContent{});
  EXPECT_EQ(SwapOut(4).swap_id(), kZeroPageId);
  EXPECT_EQ(RunOn(4), PageOutcome::kServed);
  EXPECT_EQ(memory_.Content({4}), PageContent{});
}

TEST_F(SwapInTest, PageThatChangedMeanwhileIsLeftAlone) {
  const PageWord stale = SwapOut(3);
  RunOn(3);
  memory_.ForgetCalls();
  EXPECT_EQ(RunOn(3, stale), PageOutcome::kChanged);
  EXPECT_EQ(StateOf(3), PageState::kResident);
  EXPECT_TRUE(memory_.Calls(GuestOp::kFill).empty());
}

class SwapInRefusedTest : public SwapInTest,
                          public testing::WithParamInterface<std::pair<OsResult, PageOutcome>> {};

TEST_P(SwapInRefusedTest, PageStaysSwappedAndComesBackLater) {
  const auto [result, outcome] = GetParam();
  const PageWord before = SwapOut(3);
  const auto thread = StartRead(3);
  memory_.FailNext(GuestOp::kFill, result);
  EXPECT_EQ(RunOn(3), outcome);
  EXPECT_EQ(Word(3), before) << "as it was";
  EXPECT_EQ(CopiesKept(), 1u);
  EXPECT_TRUE(memory_.Blocked(thread));
  EXPECT_EQ(RunOn(3), PageOutcome::kServed);
  EXPECT_EQ(memory_.ContentRead(thread), ContentOf(3));
}

INSTANTIATE_TEST_SUITE_P(All, SwapInRefusedTest,
                         testing::Values(std::pair(OsResult::kRetry, PageOutcome::kRetry),
                                         std::pair(OsResult::kNoMemory, PageOutcome::kNoMemory),
                                         std::pair(OsResult::kGone, PageOutcome::kGone),
                                         std::pair(OsResult::kNotMapped, PageOutcome::kNotMapped),
                                         std::pair(OsResult::kFailed, PageOutcome::kFailed)),
                         [](const auto& test) {
                           std::string name = OsResultName(test.param.first);
                           std::erase(name, ' ');
                           return name;
                         });

TEST_F(SwapInTest, MemoryMapThatChangesAsksForARetryUntilItsEventIsRead) {
  SwapOut(3);
  memory_.Discard({{20}, 1});
  EXPECT_EQ(RunOn(3), PageOutcome::kRetry);
  EXPECT_EQ(RunOn(3), PageOutcome::kRetry);
  ReadMessages();
  EXPECT_EQ(RunOn(3), PageOutcome::kServed);
}

// Another thread set the waiter bit while the page was owned, and then the kernel refused: that
// thread's message is gone, so it must be woken to send another.
TEST_F(SwapInTest, WaiterOfAPageThatCouldNotBeFilledIsWokenToFaultAgain) {
  SwapOut(3);
  FakeGuestMemory::ThreadId thread = 0;
  memory_.FailNext(GuestOp::kFill, OsResult::kNoMemory);
  memory_.BeforeNext(GuestOp::kFill, [&] {
    thread = StartRead(3);
    ReadMessages();
    EXPECT_EQ(Handle(3, FaultMessage::Kind::kMissing), PageOutcome::kServed);
  });
  RunOn(3);
  EXPECT_EQ(memory_.FaultsOf(thread), 2u);
  ServeAll();
  ASSERT_FALSE(memory_.Blocked(thread));
  EXPECT_EQ(memory_.ContentRead(thread), ContentOf(3));
}

TEST_F(SwapInTest, WaiterThatArrivesAfterTheFillIsServed) {
  SwapOut(3);
  FakeGuestMemory::ThreadId thread = 0;
  memory_.BeforeNext(GuestOp::kFill, [&] {
    thread = StartRead(3);
    ReadMessages();
  });
  // A second, stale message of the same page finds the page owned, and filled.
  memory_.AfterNext(GuestOp::kFill, [&] { Handle(3, FaultMessage::Kind::kMissing); });
  RunOn(3);
  EXPECT_FALSE(memory_.Blocked(thread));
}

TEST_F(SwapInTest, WrongChecksumLosesThePageAndWakesNobody) {
  const PageWord swapped = SwapOut(3);
  const auto thread = StartRead(3);
  ReadMessages();
  FlipStoredByte(swapped.swap_id());
  EXPECT_EQ(RunOn(3), PageOutcome::kLost);
  EXPECT_EQ(Word(3), PageWord(PageState::kLost, 0, swapped.swap_id()));
  EXPECT_TRUE(memory_.Blocked(thread));
  EXPECT_EQ(memory_.FaultsOf(thread), 1u) << "woken, with nothing to wake it for";
  EXPECT_TRUE(memory_.Look({3}).hole) << "wrong bytes in guest RAM";
  EXPECT_EQ(state_->stats().lost_pages, 1u);
  EXPECT_EQ(CopiesKept(), 1u) << "the only chance to heal";
}

TEST_F(SwapInTest, LostPageThatStaysWrongStaysLostAndIsCountedOnce) {
  Lose(3);
  for (int tries = 0; tries < 3; ++tries) EXPECT_EQ(RunOn(3), PageOutcome::kLost);
  EXPECT_EQ(state_->stats().lost_pages, 1u);
}

TEST_F(SwapInTest, LostPageHealsWhenItsContentIsRightAgain) {
  const PageWord lost = Lose(3);
  const auto thread = StartRead(3);
  FlipStoredByte(lost.swap_id());
  EXPECT_EQ(RunOn(3), PageOutcome::kServed);
  ASSERT_FALSE(memory_.Blocked(thread));
  EXPECT_EQ(memory_.ContentRead(thread), ContentOf(3));
  EXPECT_EQ(state_->stats().lost_pages, 0u);
}

TEST_F(SwapInTest, ContentOfAnotherPageIsNotAccepted) {
  const PageWord three = SwapOut(3);
  const PageWord four = SwapOut(4);
  // Somebody mixed up two records of the same VM.
  expect_at_rest_ = false;
  ASSERT_TRUE(state_->words().TryMove({3}, three, PageState::kSwappingIn, three.swap_id()));
  state_->words().Leave({3}, PageState::kSwapped, four.swap_id());
  EXPECT_EQ(RunOn(3), PageOutcome::kLost);
  EXPECT_TRUE(memory_.Look({3}).hole);
}

TEST_F(SwapInTest, FreeRecordIsNotAccepted) {
  const PageWord swapped = SwapOut(3);
  expect_at_rest_ = false;
  state_->table().Retire(swapped.swap_id());
  state_->ReapRetired();
  EXPECT_EQ(RunOn(3), PageOutcome::kLost);
  EXPECT_TRUE(memory_.Look({3}).hole);
}

// The punch failed, or a process that maps the RAM has put the same bytes there.
TEST_F(SwapInTest, EqualPageThatIsThereAlreadyIsAcceptedAndOpened) {
  SwapOut(3);
  const auto thread = StartWrite(3);
  memory_.WriteBehindTheBack({3}, ContentOf(3));
  EXPECT_EQ(RunOn(3), PageOutcome::kServed);
  EXPECT_FALSE(memory_.Blocked(thread)) << "EEXIST wakes nobody";
  EXPECT_EQ(StateOf(3), PageState::kResident);
  EXPECT_EQ(state_->stats().foreign_pages, 1u);
  EXPECT_EQ(CopiesKept(), 0u);
}

TEST_F(SwapInTest, OtherPageThatIsThereAlreadyIsLost) {
  SwapOut(3);
  const auto thread = StartWrite(3);
  ReadMessages();
  memory_.WriteBehindTheBack({3}, ContentOf(9));
  EXPECT_EQ(RunOn(3), PageOutcome::kLost);
  EXPECT_TRUE(memory_.Blocked(thread));
  EXPECT_EQ(memory_.Content({3}), ContentOf(9)) << "overwriting it would be a guess";
  EXPECT_EQ(CopiesKept(), 1u);
}

TEST_F(SwapInTest, PageThatIsThereButCannotBeReadIsLost) {
  SwapOut(3);
  memory_.WriteBehindTheBack({3}, ContentOf(3));
  memory_.FailNext(GuestOp::kRead, OsResult::kFailed);
  EXPECT_EQ(RunOn(3), PageOutcome::kLost);
}

TEST_F(SwapInTest, EqualPageThatCannotBeOpenedNowIsRetried) {
  SwapOut(3);
  const auto thread = StartWrite(3);
  memory_.WriteBehindTheBack({3}, ContentOf(3));
  memory_.FailNext(GuestOp::kUnprotect, OsResult::kRetry);
  EXPECT_EQ(RunOn(3), PageOutcome::kRetry);
  EXPECT_EQ(RunOn(3), PageOutcome::kServed);
  EXPECT_FALSE(memory_.Blocked(thread));
}

TEST_F(SwapInTest, DiscardWhileSwappingInFreesTheRecordThoughTheKernelRefused) {
  SwapOut(3);
  memory_.FailNext(GuestOp::kFill, OsResult::kNoMemory);
  memory_.BeforeNext(GuestOp::kFill, [&] { DiscardPages(&memory_, state_, {{3}, 1}); });
  EXPECT_EQ(RunOn(3), PageOutcome::kNoMemory);
  EXPECT_EQ(StateOf(3), PageState::kResident);
  EXPECT_EQ(CopiesKept(), 0u);
  ExpectGuestReads(3, PageContent{});
}

TEST_F(SwapInTest, DiscardWhileSwappingInMayGiveTheOldContent) {
  SwapOut(3);
  memory_.BeforeNext(GuestOp::kFill, [&] { DiscardPages(&memory_, state_, {{3}, 1}); });
  EXPECT_EQ(RunOn(3), PageOutcome::kServed);
  EXPECT_EQ(CopiesKept(), 0u);
  ExpectGuestReads(3, ContentOf(3));
}

TEST_F(SwapInTest, DiscardOfAPageThatIsBeingLostFreesItAndItsWaiters) {
  const PageWord swapped = SwapOut(3);
  const auto thread = StartRead(3);
  ReadMessages();
  memory_.BeforeNext(GuestOp::kRead, [&] { DiscardPages(&memory_, state_, {{3}, 1}); });
  memory_.WriteBehindTheBack({3}, ContentOf(9));
  EXPECT_EQ(RunOn(3, swapped), PageOutcome::kLost);
  EXPECT_EQ(StateOf(3), PageState::kResident);
  EXPECT_EQ(CopiesKept(), 0u);
  ServeAll();
  EXPECT_FALSE(memory_.Blocked(thread));
}

// The waiter left its message with the owner. If the owner loses the page, nobody would come back
// to that thread: neither a retry nor the content's return would ever reach it.
TEST_F(SwapInTest, WaiterOfAPageThatIsLostMeanwhileIsWokenToFaultAgain) {
  const PageWord swapped = SwapOut(3);
  FakeGuestMemory::ThreadId thread = 0;
  memory_.BeforeNext(GuestOp::kRead, [&] {
    thread = StartWrite(3);
    ReadMessages();
    // The fault thread takes this for an answer and forgets the fault.
    EXPECT_EQ(Handle(3, FaultMessage::Kind::kWriteProtect), PageOutcome::kServed);
  });
  memory_.WriteBehindTheBack({3}, ContentOf(9));
  EXPECT_EQ(RunOn(3, swapped), PageOutcome::kLost);
  EXPECT_TRUE(memory_.Blocked(thread));
  EXPECT_EQ(memory_.FaultsOf(thread), 2u);
}

}  // namespace
}  // namespace ebb
