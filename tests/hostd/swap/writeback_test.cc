// SPDX-License-Identifier: MIT
#include "hostd/swap/writeback.h"

#include <gtest/gtest.h>

#include "hostd/swap/discard.h"
#include "tests/hostd/swap/disk_fixture.h"

namespace ebb {
namespace {

class WritebackTest : public DiskTest {
 protected:
  // Raw pages go through here: nothing is dropped yet.
  bool StoreRaw(uint64_t page) {
    const ClaimedPage guarded = GuardContent(page, RawContentOf(page));
    std::vector<StoredPage> stored;
    std::vector<ClaimedPage> give_back;
    store_pages_->Run({&guarded, 1}, &stored, &give_back);
    EXPECT_TRUE(stored.empty());
    GivePagesBack(&memory_, state_, give_back);
    return give_back.empty();
  }
  // Drops what is on the disk and gives the rest back; how many were dropped.
  size_t FinishRaw() {
    writeback_->Run(0, now_ns_);
    disk_->Complete();
    writeback_->Run(0, now_ns_);
    std::vector<StoredPage> drop;
    std::vector<ClaimedPage> give_back;
    writeback_->TakeEnded(&drop, &give_back);
    GivePagesBack(&memory_, state_, give_back);
    size_t dropped = 0;
    for (const StoredPage& page : drop) dropped += DropPages(&memory_, state_, {&page, 1});
    return dropped;
  }
  uint64_t UsedBlocks() { return state_->disk()->blocks().used_blocks(); }
};

TEST_F(WritebackTest, MovingToTheDiskTouchesRecordsOnly) {
  for (uint64_t page = 0; page < 200; ++page) ASSERT_NO_FATAL_FAILURE(SwapOut(page));
  std::vector<PageWord> words;
  for (uint64_t page = 0; page < kPages; ++page) words.push_back(state_->words().Load({page}));
  WriteBackAll();
  Settle();
  EXPECT_EQ(state_->stats().disk_pages, 200u);
  EXPECT_EQ(state_->pool().stats().objects, 0u) << "a page is in one place";
  for (uint64_t page = 0; page < kPages; ++page) {
    ASSERT_EQ(state_->words().Load({page}), words[page]) << page;
  }
  for (uint64_t page = 0; page < 200; ++page) {
    ASSERT_NO_FATAL_FAILURE(ExpectComesFromDisk(page, ContentOf(page)));
  }
  EXPECT_EQ(disk_->reads(), 200u) << "one block a page";
}

TEST_F(WritebackTest, PooledPageOwnsNoDiskSpace) {
  for (uint64_t page = 0; page < 200; ++page) ASSERT_NO_FATAL_FAILURE(SwapOut(page));
  EXPECT_EQ(UsedBlocks(), 0u);
  EXPECT_EQ(tier_->space().free_segments(), tier_->space().segments());
}

TEST_F(WritebackTest, SpaceOfPagesThatCameBackIsUsedAgain) {
  for (int round = 0; round < 50; ++round) {
    ASSERT_NO_FATAL_FAILURE(SwapOutToDisk(200));
    for (uint64_t page = 0; page < 200; ++page) {
      ASSERT_NO_FATAL_FAILURE(ExpectComesFromDisk(page, ContentOf(page)));
    }
    Settle();
    ASSERT_EQ(UsedBlocks(), 0u);
  }
}

TEST_F(WritebackTest, NoMoreIsWrittenThanIsWanted) {
  for (uint64_t page = 0; page < kPages; ++page) ASSERT_NO_FATAL_FAILURE(SwapOut(page));
  EXPECT_FALSE(writeback_->Run(0, now_ns_));
  EXPECT_EQ(disk_->writes(), 0u);
  EXPECT_TRUE(writeback_->Run(1, now_ns_));
  disk_->Complete();
  EXPECT_FALSE(writeback_->Run(0, now_ns_));
  EXPECT_EQ(state_->stats().disk_pages, Writeback::kBatchObjects);
}

TEST_F(WritebackTest, PageComesFromThePoolWhileItIsBeingWritten) {
  for (uint64_t page = 0; page < 100; ++page) ASSERT_NO_FATAL_FAILURE(SwapOut(page));
  disk_->Stall(true);
  EXPECT_TRUE(writeback_->Run(kAll, now_ns_));
  for (uint64_t page = 0; page < 50; ++page) {
    ASSERT_EQ(Touch(page), PageOutcome::kServed);
    ASSERT_EQ(memory_.Content({page}), ContentOf(page));
  }
  // Their ids and places are in use as long as the disk has not answered.
  Settle();
  for (uint64_t page = 0; page < 50; ++page) {
    ASSERT_NO_FATAL_FAILURE(SwapOut(page, ContentOf(page + 1000)));
  }
  disk_->Stall(false);
  disk_->Complete();
  EXPECT_FALSE(writeback_->Run(0, now_ns_));
  Settle();
  EXPECT_EQ(state_->stats().disk_pages, 50u);
  for (uint64_t page = 0; page < 50; ++page) {
    ASSERT_EQ(Touch(page), PageOutcome::kServed);
    ASSERT_EQ(memory_.Content({page}), ContentOf(page + 1000));
  }
  for (uint64_t page = 50; page < 100; ++page) {
    ASSERT_NO_FATAL_FAILURE(ExpectComesFromDisk(page, ContentOf(page)));
  }
  Settle();
  EXPECT_EQ(UsedBlocks(), 0u);
}

TEST_F(WritebackTest, PageDiscardedWhileItIsWrittenLeavesNothing) {
  for (uint64_t page = 0; page < 100; ++page) ASSERT_NO_FATAL_FAILURE(SwapOut(page));
  writeback_->Run(kAll, now_ns_);
  DiscardPages(&memory_, state_, {{0}, 100});
  Settle();
  disk_->Complete();
  EXPECT_FALSE(writeback_->Run(0, now_ns_));
  Settle();
  EXPECT_EQ(UsedBlocks(), 0u);
  EXPECT_EQ(state_->stats().disk_pages, 0u);
  EXPECT_EQ(state_->pool().stats().objects, 0u);
}

TEST_F(WritebackTest, FailedWriteLeavesAllAsItWasAndIsTriedAgainLater) {
  for (uint64_t page = 0; page < 100; ++page) ASSERT_NO_FATAL_FAILURE(SwapOut(page));
  disk_->FailNextWrites(1000);
  EXPECT_TRUE(writeback_->Run(kAll, now_ns_));
  disk_->Complete();
  EXPECT_FALSE(writeback_->Run(kAll, now_ns_)) << "not again at once";
  EXPECT_EQ(state_->stats().disk_pages, 0u);
  EXPECT_EQ(state_->pool().stats().objects, 100u);
  EXPECT_EQ(UsedBlocks(), 0u);
  EXPECT_TRUE(tier_->stats(now_ns_).failing);
  disk_->FailNextWrites(0);
  now_ns_ += 2 * kNsPerS;
  WriteBackAll();
  EXPECT_EQ(state_->stats().disk_pages, 100u);
  EXPECT_FALSE(tier_->stats(now_ns_).failing);
  for (uint64_t page = 0; page < 100; ++page) {
    ASSERT_NO_FATAL_FAILURE(ExpectComesFromDisk(page, ContentOf(page)));
  }
}

TEST_F(WritebackTest, KernelThatTakesNoWritesLeavesAllAsItWas) {
  for (uint64_t page = 0; page < 100; ++page) ASSERT_NO_FATAL_FAILURE(SwapOut(page));
  disk_->SetRefuse(true);
  writeback_->Run(kAll, now_ns_);
  EXPECT_EQ(state_->pool().stats().objects, 100u);
  EXPECT_EQ(UsedBlocks(), 0u);
  disk_->SetRefuse(false);
  WriteBackAll();
  EXPECT_EQ(state_->stats().disk_pages, 100u);
}

TEST_F(WritebackTest, WhatDoesNotFitOntoTheDiskStaysInThePool) {
  ASSERT_NO_FATAL_FAILURE(UseDiskOf(2 * kMiB));
  for (uint64_t page = 0; page < kPages; ++page) {
    ASSERT_NO_FATAL_FAILURE(SwapOut(page, PartlyRandomContent(page, 2900)));
  }
  WriteBackAll();
  EXPECT_TRUE(state_->disk()->is_full());
  constexpr uint64_t kToMakeRoom = 16;
  EXPECT_EQ(state_->stats().disk_pages, kSegmentBlocks - 1 - kToMakeRoom);
  Settle();
  EXPECT_EQ(state_->pool().stats().objects, kPages - state_->stats().disk_pages);
  for (uint64_t page = 0; page < kPages; ++page) {
    const PageContent content = PartlyRandomContent(page, 2900);
    if (LocationOf(page).tier() == TierKind::kDisk) {
      ASSERT_NO_FATAL_FAILURE(ExpectComesFromDisk(page, content));
    } else {
      ASSERT_EQ(Touch(page), PageOutcome::kServed);
      ASSERT_EQ(memory_.Content({page}), content);
    }
  }
}

TEST_F(WritebackTest, NothingIsReusedInThePoolWhileSomebodyReadsThere) {
  for (uint64_t page = 0; page < 100; ++page) ASSERT_NO_FATAL_FAILURE(SwapOut(page));
  RecordReaders::Reader reader(&state_->readers());
  std::optional<RecordReaders::Reading> reading(&reader);
  WriteBackAll();
  for (int pass = 0; pass < 5; ++pass) EXPECT_TRUE(state_->Compact());
  EXPECT_EQ(state_->pool().stats().objects, 100u);
  reading.reset();
  Settle();
  EXPECT_EQ(state_->pool().stats().objects, 0u);
}

// ---- Pages that do not compress

TEST_F(WritebackTest, PageThatDoesNotCompressGoesToTheDiskDirectly) {
  for (uint64_t page = 0; page < 20; ++page) {
    ASSERT_TRUE(StoreRaw(page));
    EXPECT_EQ(StateOf(page), PageState::kSwappingOut) << "until it is on the disk";
  }
  EXPECT_EQ(FinishRaw(), 20u);
  EXPECT_EQ(UsedBlocks(), 20u);
  EXPECT_EQ(state_->pool().stats().objects, 0u);
  for (uint64_t page = 0; page < 20; ++page) {
    ASSERT_NO_FATAL_FAILURE(ExpectComesFromDisk(page, RawContentOf(page)));
  }
  Settle();
  EXPECT_EQ(UsedBlocks(), 0u);
}

TEST_F(WritebackTest, RawPageThatIsTouchedWhileItIsWrittenStays) {
  ASSERT_TRUE(StoreRaw(1));
  ASSERT_TRUE(StoreRaw(2));
  ASSERT_EQ(handler_->Handle({1}, FaultMessage::Kind::kWriteProtect), PageOutcome::kServed);
  EXPECT_EQ(FinishRaw(), 1u);
  EXPECT_EQ(StateOf(1), PageState::kResident);
  EXPECT_EQ(StateOf(2), PageState::kSwapped);
  EXPECT_EQ(UsedBlocks(), 1u);
}

// Its copy may be younger than a discard that the fault thread has read and not handled yet.
TEST_F(WritebackTest, RawPageGoesBackWhileADiscardMayBeOnItsWay) {
  state_->discard_order().BeginRead();
  ASSERT_TRUE(StoreRaw(1));
  EXPECT_EQ(FinishRaw(), 0u);
  EXPECT_EQ(StateOf(1), PageState::kResident);
  EXPECT_EQ(UsedBlocks(), 0u);
  state_->discard_order().EndRead();
  ASSERT_TRUE(StoreRaw(1));
  EXPECT_EQ(FinishRaw(), 1u);
}

TEST_F(WritebackTest, RawPageGoesBackWhenTheDiskFails) {
  disk_->FailNextWrites(10);
  ASSERT_TRUE(StoreRaw(1));
  EXPECT_EQ(FinishRaw(), 0u);
  EXPECT_EQ(StateOf(1), PageState::kResident);
  EXPECT_FALSE(StoreRaw(1)) << "it stays, as without a disk";
  EXPECT_EQ(state_->incompressible().pages(), 1u);
}

TEST_F(WritebackTest, GivingUpGivesRawPagesBackAtOnce) {
  disk_->Stall(true);
  for (uint64_t page = 0; page < 20; ++page) ASSERT_TRUE(StoreRaw(page));
  std::vector<ClaimedPage> give_back;
  writeback_->GiveUp(&give_back);
  GivePagesBack(&memory_, state_, give_back);
  for (uint64_t page = 0; page < 20; ++page) EXPECT_EQ(StateOf(page), PageState::kResident);
  disk_->Stall(false);
  EXPECT_EQ(FinishRaw(), 0u);
  EXPECT_EQ(UsedBlocks(), 0u);
}

}  // namespace
}  // namespace ebb
