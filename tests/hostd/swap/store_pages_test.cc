// SPDX-License-Identifier: MIT
#include "hostd/swap/store_pages.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "hostd/tiers/same_filled.h"
#include "tests/hostd/swap/swap_fixture.h"

namespace ebb {
namespace {

class StorePagesTest : public SwapTest {
 protected:
  void RunOn(std::vector<ClaimedPage> guarded) {
    store_pages_->Run(guarded, &stored_, &give_back_);
  }
  std::vector<ClaimedPage> GuardAll(uint64_t first, uint64_t count) {
    std::vector<ClaimedPage> guarded;
    for (uint64_t page = first; page < first + count; ++page) guarded.push_back(Guard(page));
    return guarded;
  }
  void ExpectRefused(uint64_t page) {
    EXPECT_TRUE(stored_.empty());
    ASSERT_EQ(give_back_.size(), 1u);
    EXPECT_EQ(give_back_[0].page, PageIndex{page});
    EXPECT_EQ(give_back_[0].word, Word(page))
        << "the claim must still fit, or it is not given back";
    EXPECT_EQ(state_->pool().stats().objects, 0u) << "a refused page left a copy behind";
    GivePagesBack(&memory_, state_, give_back_);
    EXPECT_EQ(StateOf(page), PageState::kResident);
    ExpectGuestReads(page, ContentOf(page));
  }

  std::vector<StoredPage> stored_;
  std::vector<ClaimedPage> give_back_;
};

TEST_F(StorePagesTest, UntouchedPageIsStoredWithACompleteRecord) {
  RunOn({Guard(3)});
  ASSERT_EQ(stored_.size(), 1u);
  EXPECT_TRUE(give_back_.empty());
  EXPECT_EQ(StateOf(3), PageState::kSwappingOut);
  EXPECT_EQ(stored_[0].claim.word, Word(3));
  const SwapDesc desc = state_->table().Load(stored_[0].id);
  EXPECT_EQ(desc.checksum, PageChecksum(ContentOf(3).data(), {3}, Word(3).generation()));
  const std::span<const std::byte> stored =
      state_->pool().Object(desc.location.pool_handle(), desc.location.length_bytes());
  PageContent copy;
  ASSERT_TRUE(DecodePage(desc.location.codec(), stored, copy.data()));
  EXPECT_EQ(copy, ContentOf(3));
}

// The guest may have written to it since QEMU was told that the discard is known.
TEST_F(StorePagesTest, PageIsRefusedWhileADiscardThatWasReadIsNotHandled) {
  const ClaimedPage guarded = Guard(3);
  state_->discard_order().BeginRead();
  RunOn({guarded});
  state_->ReapRetired();
  ExpectRefused(3);
}

TEST_F(StorePagesTest, ReadThatBeganAfterThePageWasClaimedIsNotWaitedFor) {
  const ClaimedPage guarded = Guard(3);
  memory_.BeforeNext(GuestOp::kRead, [&] { state_->discard_order().BeginRead(); });
  RunOn({guarded});
  EXPECT_EQ(stored_.size(), 1u);
}

TEST_F(StorePagesTest, HandledDiscardsHoldNothingUp) {
  state_->discard_order().BeginRead();
  state_->discard_order().EndRead();
  RunOn({Guard(3)});
  EXPECT_EQ(stored_.size(), 1u);
}

TEST_F(StorePagesTest, StoringLeavesThePageInPlace) {
  RunOn({Guard(3)});
  EXPECT_FALSE(memory_.Look({3}).hole);
  EXPECT_TRUE(memory_.Look({3}).write_protected);
  EXPECT_TRUE(memory_.Calls(GuestOp::kPunch).empty());
}

TEST_F(StorePagesTest, SameFilledPageNeedsNoStorage) {
  PageContent content;
  FillSame(content.data(), 0xabcd0123);
  memory_.Populate({4}, content);
  RunOn({Guard(4)});
  ASSERT_EQ(stored_.size(), 1u);
  const SwapLocation location = state_->table().Load(stored_[0].id).location;
  EXPECT_EQ(location.tier(), TierKind::kSameFilled);
  EXPECT_EQ(location.same_filled_value(), 0xabcd0123);
  EXPECT_EQ(state_->pool().stats().objects, 0u);
}

TEST_F(StorePagesTest, ZeroPageNeedsNotEvenARecord) {
  memory_.Populate({4}, PageContent{});
  RunOn({Guard(4)});
  ASSERT_EQ(stored_.size(), 1u);
  EXPECT_EQ(stored_[0].id, kZeroPageId);
  EXPECT_EQ(state_->table().Allocate({SwapLocation::SameFilled(7), 0}), SwapId{1}) << "the first";
  state_->table().Retire({1});
}

// It would take as much memory in the pool as where it is.
TEST_F(StorePagesTest, PageThatSavesLessThanAQuarterStaysResidentAndIsNoted) {
  const auto content_of = [](uint64_t page) { return PartlyRandomContent(page, 3200); };
  memory_.Populate({3}, content_of(3));
  RunOn({Guard(3)});
  EXPECT_TRUE(stored_.empty());
  EXPECT_EQ(state_->incompressible().pages(), 1u);
  EXPECT_EQ(state_->pool().stats().objects, 0u);
  GivePagesBack(&memory_, state_, give_back_);
  ExpectGuestReads(3, content_of(3));
}

TEST_F(StorePagesTest, PageThatSavesAQuarterIsStored) {
  memory_.Populate({3}, PartlyRandomContent(3, 2900));
  RunOn({Guard(3)});
  EXPECT_EQ(stored_.size(), 1u);
  EXPECT_EQ(state_->incompressible().pages(), 0u);
}

// Mapped again: a thread read it, or a device had it pinned before the protection.
TEST_F(StorePagesTest, PresentPageIsRefused) {
  const ClaimedPage guarded = Guard(5);
  const auto thread = StartRead(5);
  ASSERT_FALSE(memory_.Blocked(thread)) << "a read of a guarded page costs no message";
  RunOn({guarded});
  ExpectRefused(5);
}

TEST_F(StorePagesTest, UnprotectedPageIsRefused) {
  Cool(5);
  const ClaimedPage not_protected = Claim(5, {PageState::kGuarded});
  RunOn({not_protected});
  ExpectRefused(5);
}

TEST_F(StorePagesTest, PageIsRefusedWherePagemapCannotBeRead) {
  const ClaimedPage guarded = Guard(5);
  memory_.FailNext(GuestOp::kReadPtes, OsResult::kGone);
  RunOn({guarded});
  ExpectRefused(5);
}

TEST_F(StorePagesTest, PageThatCannotBeReadIsRefused) {
  const ClaimedPage guarded = Guard(5);
  memory_.FailNext(GuestOp::kRead, OsResult::kFailed);
  RunOn({guarded});
  ExpectRefused(5);
}

// The check must come after the claim: a touch between the two would go unseen.
TEST_F(StorePagesTest, PageTouchedAfterItsClaimIsRefused) {
  const ClaimedPage guarded = Guard(5);
  memory_.BeforeNext(GuestOp::kReadPtes, [&] {
    EXPECT_EQ(StateOf(5), PageState::kSwappingOut);
    StartRead(5);
  });
  RunOn({guarded});
  ExpectRefused(5);
}

TEST_F(StorePagesTest, PageTakenBackBeforeIsLeftAlone) {
  const ClaimedPage guarded = Guard(6);
  const auto thread = StartWrite(6);
  ServeAll();
  EXPECT_FALSE(memory_.Blocked(thread));
  RunOn({guarded});
  EXPECT_TRUE(stored_.empty());
  EXPECT_TRUE(give_back_.empty()) << "it is no longer reclaim's to give back";
  EXPECT_EQ(StateOf(6), PageState::kResident);
}

// Taken back while it is read: the copy may be torn, and the drop must find out.
TEST_F(StorePagesTest, PageTakenBackWhileItIsReadIsNotDropped) {
  const ClaimedPage guarded = Guard(6);
  memory_.BeforeNext(GuestOp::kRead, [&] {
    StartWrite(6);
    ServeAll();
  });
  RunOn({guarded});
  ASSERT_EQ(stored_.size(), 1u);
  EXPECT_EQ(DropPages(&memory_, state_, stored_), 0u);
  ExpectGuestReads(6, Written(ContentOf(6)));
}

TEST_F(StorePagesTest, EachPageOfABatchIsJudgedAlone) {
  const std::vector<ClaimedPage> guarded = GuardAll(10, 8);
  StartRead(11);   // present
  StartWrite(13);  // taken back
  ServeAll();
  RunOn(guarded);
  ASSERT_EQ(give_back_.size(), 1u);
  EXPECT_EQ(give_back_[0].page, PageIndex{11});
  std::vector<uint64_t> stored;
  for (const StoredPage& page : stored_) stored.push_back(page.claim.page.value);
  EXPECT_EQ(stored, (std::vector<uint64_t>{10, 12, 14, 15, 16, 17}));
  for (const StoredPage& page : stored_) {
    const SwapDesc desc = state_->table().Load(page.id);
    EXPECT_EQ(desc.checksum, PageChecksum(ContentOf(page.claim.page.value).data(), page.claim.page,
                                          page.claim.word.generation()));
  }
}

TEST_F(StorePagesTest, ResultsAreAppended) {
  RunOn({Guard(1)});
  RunOn({Guard(2)});
  ASSERT_EQ(stored_.size(), 2u);
  EXPECT_EQ(stored_[0].claim.page, PageIndex{1});
  EXPECT_NE(stored_[0].id, stored_[1].id);
}

TEST_F(StorePagesTest, NothingToClaimDoesNothing) {
  RunOn({});
  EXPECT_TRUE(memory_.Calls(GuestOp::kReadPtes).empty());
}

// Copies that wait to be dropped take records beyond one a page; when those run out too, the page
// goes back and its copy is freed again.
TEST_F(StorePagesTest, PageWithoutAFreeRecordIsRefused) {
  std::vector<SwapId> taken;
  while (const auto id = state_->table().Allocate({SwapLocation::SameFilled(0), 0})) {
    taken.push_back(*id);
  }
  RunOn({Guard(7)});
  ExpectRefused(7);
}

TEST_F(StorePagesTest, PageThatDoesNotFitIntoThePoolIsRefused) {
  const std::vector<std::byte> large(SpanAllocator::kMaxObjectBytes);
  const std::vector<std::byte> small(1);
  std::vector<std::pair<PoolHandle, uint32_t>> filling;
  for (const auto& object : {large, small}) {
    while (const auto handle = state_->pool().Store(object)) {
      filling.emplace_back(*handle, static_cast<uint32_t>(object.size()));
    }
  }
  RunOn({Guard(7)});
  EXPECT_TRUE(stored_.empty());
  ASSERT_EQ(give_back_.size(), 1u);
  GivePagesBack(&memory_, state_, give_back_);
  for (const auto& [handle, bytes] : filling) state_->pool().Free(handle, bytes);
  ExpectGuestReads(7, ContentOf(7));
}

}  // namespace
}  // namespace ebb
