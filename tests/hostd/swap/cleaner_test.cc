// SPDX-License-Identifier: MIT
#include "hostd/swap/cleaner.h"

#include <gtest/gtest.h>

#include "hostd/swap/discard.h"
#include "tests/hostd/swap/disk_fixture.h"

namespace ebb {
namespace {

// A disk of 255 blocks, filled with three objects a block, most of which are not needed any more.
class CleanerTest : public DiskTest {
 protected:
  static constexpr uint64_t kStored = 500;

  void SetUp() override {
    ASSERT_NO_FATAL_FAILURE(UseDiskOf(2 * kMiB));
    for (uint64_t page = 0; page < kStored; ++page) {
      ASSERT_NO_FATAL_FAILURE(SwapOut(page, ThirdOf(page)));
    }
    ASSERT_NO_FATAL_FAILURE(WriteBackOnce());
    ASSERT_EQ(state_->stats().disk_pages, kStored);
    full_blocks_ = UsedBlocks();
    ASSERT_GT(full_blocks_, kStored / 4);
  }
  static PageContent ThirdOf(uint64_t page) { return PartlyRandomContent(page, 1250); }
  // Of three pages that follow each other one stays.
  void DiscardMost() {
    for (uint64_t page = 0; page < kStored; ++page) {
      if (page % 3 != 0) DiscardPages(&memory_, state_, {{page}, 1});
    }
    Settle();
    now_ns_ += 2 * kNsPerS;  // it may have looked before
  }
  void WriteBackOnce() {
    for (int pass = 0; pass < 30; ++pass) {
      writeback_->Run(pass == 0 ? kAll : 0, now_ns_);
      disk_->Complete();
    }
  }
  // Passes for some seconds, in which all that is worth it is cleaned.
  void Clean() {
    for (int pass = 0; pass < 200; ++pass) {
      now_ns_ += 100 * kNsPerMs;
      writeback_->Run(0, now_ns_);
      disk_->Complete();
      Settle();
    }
  }
  uint64_t UsedBlocks() { return state_->disk()->blocks().used_blocks(); }
  void ExpectAllRight() {
    for (uint64_t page = 0; page < kStored; page += 3) {
      ASSERT_NO_FATAL_FAILURE(ExpectComesFromDisk(page, ThirdOf(page)));
    }
    Clean();  // to its end, if some were being moved
    EXPECT_EQ(UsedBlocks(), 0u);
  }

  uint64_t full_blocks_ = 0;
};

TEST_F(CleanerTest, WhatIsLeftInSparseBlocksIsMovedTogether) {
  DiscardMost();
  const uint64_t sparse = UsedBlocks();
  std::vector<PageWord> words;
  for (uint64_t page = 0; page < kPages; ++page) words.push_back(state_->words().Load({page}));
  Clean();
  EXPECT_LT(UsedBlocks(), sparse * 2 / 3);
  for (uint64_t page = 0; page < kPages; ++page) {
    ASSERT_EQ(state_->words().Load({page}), words[page]) << "moving touches records only";
  }
  ASSERT_NO_FATAL_FAILURE(ExpectAllRight());
}

TEST_F(CleanerTest, NothingIsReadOrWrittenOnceNothingCanBeWon) {
  DiscardMost();
  Clean();
  const uint64_t reads = disk_->reads();
  const uint64_t writes = disk_->writes();
  for (int pass = 0; pass < 100; ++pass) writeback_->Run(0, now_ns_ += kNsPerMs);
  EXPECT_EQ(disk_->writes(), writes);
  EXPECT_LE(disk_->reads(), reads + 8);
  EXPECT_FALSE(writeback_->Run(0, now_ns_));
}

TEST_F(CleanerTest, FullBlocksAreLeftAlone) {
  const uint64_t reads = disk_->reads();
  Clean();
  EXPECT_EQ(disk_->reads(), reads);
  EXPECT_EQ(UsedBlocks(), full_blocks_);
}

TEST_F(CleanerTest, PagesThatGoMeanwhileLeaveNothing) {
  DiscardMost();
  writeback_->Run(0, now_ns_);
  ASSERT_GT(disk_->pending(), 0u) << "blocks are read";
  DiscardPages(&memory_, state_, {{0}, 120});
  Settle();
  disk_->Complete();
  writeback_->Run(0, now_ns_);
  ASSERT_GT(disk_->pending(), 0u) << "and written";
  DiscardPages(&memory_, state_, {{120}, 120});
  Settle();
  Clean();
  for (uint64_t page = 240; page < kStored; page += 3) {
    ASSERT_NO_FATAL_FAILURE(ExpectComesFromDisk(page, ThirdOf(page)));
  }
  Clean();
  EXPECT_EQ(UsedBlocks(), 0u);
}

// A guest that reads the page has seen its old place.
TEST_F(CleanerTest, PageThatIsReadWhileItIsMovedComesBackRight) {
  DiscardMost();
  writeback_->Run(0, now_ns_);
  disk_->Complete();
  writeback_->Run(0, now_ns_);  // what was read is being written
  for (uint64_t page = 0; page < 60; page += 3) ASSERT_EQ(Touch(page), PageOutcome::kReading);
  // Writes end before reads do, and their old blocks hold something else by then.
  disk_->Complete(disk_->pending() - 20);
  writeback_->Run(0, now_ns_);
  Settle();
  disk_->Complete();
  for (int left = 20; left > 0;) {
    disk_->Complete();
    const auto read = NextRead();
    if (!read) continue;
    ASSERT_EQ(read->outcome, PageOutcome::kServed);
    ASSERT_EQ(memory_.Content(read->page), ThirdOf(read->page.value));
    --left;
  }
}

TEST_F(CleanerTest, WhatTheDiskGivesWronglyStaysWhereItIs) {
  DiscardMost();
  std::vector<std::byte> good(disk_->data().begin(), disk_->data().end());
  for (uint64_t page = 0; page < kStored; page += 3) ObjectOnDisk(page)[20] ^= std::byte{1};
  const SwapLocation before = LocationOf(300);
  Clean();
  EXPECT_EQ(LocationOf(300), before);
  std::copy(good.begin(), good.end(), disk_->data().begin());
  ASSERT_NO_FATAL_FAILURE(ExpectAllRight());
}

// Of the guest's choosing, as if it were a block with an index.
TEST_F(CleanerTest, RawPageIsNothingToClean) {
  DiscardMost();
  writeback_->Run(0, now_ns_);
  ASSERT_EQ(disk_->pending(), 8u) << "sparse blocks are read";
  // Its place is a raw page's since, and the read is late.
  const PageWord word = state_->words().Load({0});
  const SwapLocation before = LocationOf(0);
  const DiskLocation block = {0, before.disk_location().block, 0};
  ASSERT_TRUE(state_->table().TryRelocate(word.swap_id(), before,
                                          SwapLocation::OnDisk(Codec::kRaw, kPageBytes, block)));
  for (int pass = 0; pass < 3; ++pass) {
    disk_->Complete();
    writeback_->Run(0, now_ns_);
  }
  EXPECT_EQ(LocationOf(0).disk_location(), block);
  const SwapLocation raw = LocationOf(0);
  ASSERT_TRUE(state_->table().TryRelocate(word.swap_id(), raw, before));
  ASSERT_NO_FATAL_FAILURE(ExpectAllRight());
}

TEST_F(CleanerTest, FailingDiskLosesNothing) {
  DiscardMost();
  disk_->FailNextReads(5);
  disk_->FailNextWrites(5);
  Clean();
  ASSERT_NO_FATAL_FAILURE(ExpectAllRight());
}

// To the last block that may be taken, and then half of it is not needed any more.
TEST_F(DiskTest, FullDiskIsCleanedWithTheBlocksThatAreKeptForThat) {
  ASSERT_NO_FATAL_FAILURE(UseDiskOf(2 * kMiB));
  const auto half_of = [](uint64_t page) { return PartlyRandomContent(page, 1900); };
  for (uint64_t page = 0; page < kPages; ++page) {
    ASSERT_NO_FATAL_FAILURE(SwapOut(page, half_of(page)));
  }
  for (int pass = 0; pass < 30; ++pass) {
    writeback_->Run(kAll, now_ns_);
    disk_->Complete();
  }
  ASSERT_TRUE(state_->disk()->is_full());
  const uint64_t full = state_->disk()->used_blocks();
  std::vector<uint64_t> kept;
  for (uint64_t page = 0; page < kPages; ++page) {
    if (LocationOf(page).tier() != TierKind::kDisk) continue;
    if (page % 2 == 0) {
      kept.push_back(page);
    } else {
      DiscardPages(&memory_, state_, {{page}, 1});
    }
  }
  for (int pass = 0; pass < 300; ++pass) {
    now_ns_ += 100 * kNsPerMs;
    writeback_->Run(0, now_ns_);
    disk_->Complete();
    Settle();
  }
  EXPECT_LT(state_->disk()->used_blocks(), full * 7 / 10);
  for (const uint64_t page : kept) {
    ASSERT_NO_FATAL_FAILURE(ExpectComesFromDisk(page, half_of(page)));
  }
}

}  // namespace
}  // namespace ebb
