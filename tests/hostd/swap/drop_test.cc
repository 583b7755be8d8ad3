// SPDX-License-Identifier: MIT
#include "hostd/swap/drop.h"

#include <gtest/gtest.h>

#include <vector>

#include "hostd/swap/discard.h"
#include "tests/hostd/swap/swap_fixture.h"

namespace ebb {
namespace {

class DropTest : public SwapTest {
 protected:
  size_t Drop(std::vector<StoredPage> pages) { return DropPages(&memory_, state_, pages); }
  // Pages whose copies are still kept once reclaim has freed what it may.
  uint64_t CopiesKept() {
    state_->ReapRetired();
    return state_->pool().stats().objects;
  }
};

using DropDeathTest = DropTest;
using GivePagesBackTest = DropTest;

TEST_F(DropTest, StoredPageBecomesAHoleThatIsSwapped) {
  const StoredPage stored = Store(3);
  EXPECT_EQ(Drop({stored}), 1u);
  EXPECT_EQ(Word(3), PageWord(PageState::kSwapped, 0, stored.id));
  EXPECT_TRUE(memory_.Look({3}).hole);
  EXPECT_EQ(state_->stats().swapped_out, 1u);
  EXPECT_EQ(CopiesKept(), 1u);
}

TEST_F(DropTest, SwappedPageComesBackToTheGuest) {
  Drop({Store(3)});
  ExpectGuestReads(3, ContentOf(3));
  EXPECT_EQ(CopiesKept(), 0u);
}

TEST_F(DropTest, WordNamesItsRecordFromTheMomentOfDropping) {
  const StoredPage stored = Store(3);
  memory_.BeforeNext(GuestOp::kPunch,
                     [&] { EXPECT_EQ(Word(3), PageWord(PageState::kDropping, 0, stored.id)); });
  Drop({stored});
}

TEST_F(DropTest, PageIsSwappedOnlyAfterThePunchHasReturned) {
  const StoredPage stored = Store(3);
  memory_.AfterNext(GuestOp::kPunch, [&] { EXPECT_EQ(StateOf(3), PageState::kDropping); });
  Drop({stored});
}

TEST_F(DropTest, WriteThatTookThePageBackKeepsItAndThrowsTheCopyAway) {
  const StoredPage stored = Store(3);
  const auto thread = StartWrite(3);
  ServeAll();
  ASSERT_FALSE(memory_.Blocked(thread));
  EXPECT_EQ(Drop({stored}), 0u);
  EXPECT_TRUE(memory_.Calls(GuestOp::kPunch).empty());
  EXPECT_EQ(StateOf(3), PageState::kResident);
  EXPECT_EQ(state_->stats().swapped_out, 0u);
  EXPECT_EQ(state_->stats().given_back, 1u);
  EXPECT_EQ(CopiesKept(), 0u);
  ExpectGuestReads(3, Written(ContentOf(3)));
}

TEST_F(DropTest, PageTakenBackAndClaimedAgainIsNotDroppedWithTheOldCopy) {
  const StoredPage old_copy = Store(3);
  StartWrite(3);
  ServeAll();
  const StoredPage new_copy = Store(3);
  EXPECT_EQ(Drop({old_copy}), 0u);
  EXPECT_EQ(StateOf(3), PageState::kSwappingOut);
  EXPECT_EQ(Drop({new_copy}), 1u);
  ExpectGuestReads(3, Written(ContentOf(3)));
}

TEST_F(DropTest, PagesThatStayDivideTheBatchIntoRuns) {
  std::vector<StoredPage> batch;
  for (uint64_t page = 10; page < 18; ++page) batch.push_back(Store(page));
  StartWrite(12);
  ServeAll();
  EXPECT_EQ(Drop(batch), 7u);
  std::vector<PageRange> punched;
  for (const auto& call : memory_.Calls(GuestOp::kPunch)) punched.push_back(call.range);
  EXPECT_EQ(punched, (std::vector<PageRange>{{{10}, 2}, {{13}, 5}}));
  for (uint64_t page = 10; page < 18; ++page) {
    EXPECT_EQ(StateOf(page), page == 12 ? PageState::kResident : PageState::kSwapped);
  }
}

// A punch wakes nobody. The thread that wrote to the page before the punch waits on a protection
// that is gone with the page: without a wake it would wait for ever.
TEST_F(DropTest, WriterThatArrivesWhileDroppingIsServed) {
  const StoredPage stored = Store(3);
  FakeGuestMemory::ThreadId thread = 0;
  memory_.BeforeNext(GuestOp::kPunch, [&] {
    thread = StartWrite(3);
    ReadMessages();
    EXPECT_EQ(Handle(3, FaultMessage::Kind::kWriteProtect), PageOutcome::kServed);
    EXPECT_TRUE(memory_.Blocked(thread)) << "in Dropping nobody unprotects";
  });
  Drop({stored});
  ServeAll();
  EXPECT_FALSE(memory_.Blocked(thread));
  ExpectGuestReads(3, Written(ContentOf(3)));
}

TEST_F(DropTest, ReaderThatArrivesAfterThePunchIsServed) {
  const StoredPage stored = Store(3);
  FakeGuestMemory::ThreadId thread = 0;
  memory_.AfterNext(GuestOp::kPunch, [&] {
    thread = StartRead(3);
    ReadMessages();
    EXPECT_EQ(Handle(3, FaultMessage::Kind::kMissing), PageOutcome::kServed);
    EXPECT_TRUE(memory_.Blocked(thread));
  });
  Drop({stored});
  ServeAll();
  ASSERT_FALSE(memory_.Blocked(thread));
  EXPECT_EQ(memory_.ContentRead(thread), ContentOf(3));
}

TEST_F(DropTest, NobodyIsWokenWhoDoesNotWait) {
  Drop({Store(3)});
  EXPECT_TRUE(memory_.Calls(GuestOp::kWake).empty());
}

TEST_F(DropTest, DiscardWhileDroppingFreesTheRecord) {
  const StoredPage stored = Store(3);
  memory_.BeforeNext(GuestOp::kPunch, [&] { DiscardPages(&memory_, state_, {{3}, 1}); });
  Drop({stored});
  EXPECT_EQ(StateOf(3), PageState::kResident);
  EXPECT_EQ(CopiesKept(), 0u);
  EXPECT_EQ(state_->stats().discarded, 1u);
  ExpectGuestReads(3, PageContent{});
}

// The flag is for the life it arrived in: a page that came back and left again is not discarded.
TEST_F(DropTest, DiscardWhileDroppingDoesNotHitThePagesNextLife) {
  const StoredPage stored = Store(3);
  memory_.BeforeNext(GuestOp::kPunch, [&] { DiscardPages(&memory_, state_, {{3}, 1}); });
  Drop({stored});
  StartWrite(3);
  ServeAll();
  SwapOut(3);
  ExpectGuestReads(3, Written(PageContent{}));
}

TEST_F(DropTest, ThreadThatWaitsForAPageDiscardedWhileDroppingGetsAZeroPage) {
  const StoredPage stored = Store(3);
  FakeGuestMemory::ThreadId thread = 0;
  memory_.AfterNext(GuestOp::kPunch, [&] {
    DiscardPages(&memory_, state_, {{3}, 1});
    thread = StartRead(3);
    ReadMessages();
    Handle(3, FaultMessage::Kind::kMissing);
  });
  Drop({stored});
  ServeAll();
  ASSERT_FALSE(memory_.Blocked(thread));
  EXPECT_EQ(memory_.ContentRead(thread), PageContent{});
}

// The page is still there, protected. It may be called Swapped: it must come back unharmed.
TEST_F(DropTest, PageWhosePunchFailedKeepsItsContent) {
  const StoredPage stored = Store(3);
  memory_.FailNext(GuestOp::kPunch, OsResult::kNoMemory);
  Drop({stored});
  EXPECT_EQ(state_->stats().failed_punches, 1u);
  EXPECT_FALSE(memory_.Look({3}).hole);
  const auto thread = StartWrite(3);
  ServeAll();
  EXPECT_FALSE(memory_.Blocked(thread));
  ExpectGuestReads(3, Written(ContentOf(3)));
  EXPECT_EQ(CopiesKept(), 0u);
}

TEST_F(DropTest, SameFilledPagesAreCountedWhileTheyAreSwapped) {
  memory_.Populate({4}, PageContent{});
  memory_.Populate({5}, FilledWith(std::byte{0x5a}));
  Drop({Store(3)});
  Drop({Store(4)});
  Drop({Store(5)});
  EXPECT_EQ(state_->stats().same_filled_pages, 2u) << "zeros are a value, too";
  ExpectGuestReads(4, PageContent{});
  ExpectGuestReads(5, FilledWith(std::byte{0x5a}));
  ExpectGuestReads(3, ContentOf(3));
  EXPECT_EQ(state_->stats().same_filled_pages, 0u);
}

TEST_F(DropDeathTest, BatchThatWouldKeepFaultsWaitingEndsTheDaemon) {
  std::vector<StoredPage> batch;
  for (uint64_t page = 0; page < kDropBatchPages; ++page) batch.push_back(Store(page));
  EXPECT_EQ(Drop(batch), kDropBatchPages);
  std::vector<StoredPage> too_many;
  for (uint64_t page = 17; page < 17 + kDropBatchPages + 1; ++page) too_many.push_back(Store(page));
  EXPECT_DEATH(Drop(too_many), "too many pages in Dropping");
  for (const StoredPage& page : too_many) Drop({page});
}

TEST_F(GivePagesBackTest, ClaimedPageOfEachStateBecomesPlainlyResident) {
  const std::vector<ClaimedPage> claims = {Cool(1), Guard(2), Store(3).claim};
  GivePagesBack(&memory_, state_, claims);
  for (uint64_t page = 1; page <= 3; ++page) {
    EXPECT_EQ(StateOf(page), PageState::kResident);
    EXPECT_FALSE(memory_.Look({page}).write_protected) << page;
    EXPECT_FALSE(memory_.Blocked(StartWrite(page))) << page;
  }
}

TEST_F(GivePagesBackTest, PageThatWasTakenBackAlreadyIsNotTouched) {
  const ClaimedPage claim = Guard(2);
  StartWrite(2);
  ServeAll();
  const PageWord before = Word(2);
  memory_.ForgetCalls();
  GivePagesBack(&memory_, state_, {&claim, 1});
  EXPECT_EQ(Word(2), before);
  EXPECT_TRUE(memory_.Calls(GuestOp::kUnprotect).empty());
}

TEST_F(GivePagesBackTest, WriterThatWaitsIsWoken) {
  const ClaimedPage claim = Guard(2);
  const auto thread = StartWrite(2);
  ReadMessages();
  GivePagesBack(&memory_, state_, {&claim, 1});
  EXPECT_FALSE(memory_.Blocked(thread));
}

// The fault thread meets the page in Fixing, and its Unprotect has failed: only the waiter bit is
// left to wake the writer with.
TEST_F(GivePagesBackTest, WriterThatArrivesWhileFixingIsServedThoughTheKernelAskedForARetry) {
  const ClaimedPage claim = Guard(2);
  FakeGuestMemory::ThreadId thread = 0;
  memory_.FailNext(GuestOp::kUnprotect, OsResult::kRetry);
  memory_.BeforeNext(GuestOp::kUnprotect, [&] {
    thread = StartWrite(2);
    ReadMessages();
    EXPECT_EQ(Handle(2, FaultMessage::Kind::kWriteProtect), PageOutcome::kServed);
  });
  GivePagesBack(&memory_, state_, {&claim, 1});
  ServeAll();
  EXPECT_FALSE(memory_.Blocked(thread));
}

TEST_F(GivePagesBackTest, PagesTouchedWhileCoolingAreNotCountedAsGivenBack) {
  const ClaimedPage cooling = Cool(1);
  GivePagesBack(&memory_, state_, {&cooling, 1});
  EXPECT_EQ(state_->stats().given_back, 0u);
  const ClaimedPage guarded = Guard(2);
  GivePagesBack(&memory_, state_, {&guarded, 1});
  EXPECT_EQ(state_->stats().given_back, 1u);
}

}  // namespace
}  // namespace ebb
