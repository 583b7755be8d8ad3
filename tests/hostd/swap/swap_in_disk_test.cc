// SPDX-License-Identifier: MIT
// Pages that come back from the disk, and what happens when the disk is not well.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <random>

#include "hostd/swap/discard.h"
#include "tests/hostd/swap/disk_fixture.h"

namespace ebb {
namespace {

class SwapInDiskTest : public DiskTest {
 protected:
  // The page that was asked for, once the disk has answered everything.
  PageOutcome OutcomeOf(uint64_t page, bool read_ahead = false) {
    if (const PageOutcome outcome = Touch(page); outcome != PageOutcome::kReading) return outcome;
    for (;;) {
      disk_->Complete();
      if (const auto read = NextRead(read_ahead)) {
        EXPECT_EQ(read->page.value, page);
        read_ahead_pages_ = read->read_ahead_pages;
        return read->outcome;
      }
    }
  }
  uint64_t read_ahead_pages_ = 0;
};

TEST_F(SwapInDiskTest, PageStaysInSwappingInWhileTheDiskWorksAndNobodyWaits) {
  ASSERT_NO_FATAL_FAILURE(SwapOutToDisk(10));
  const auto thread = memory_.StartRead({3});
  EXPECT_EQ(Touch(3), PageOutcome::kReading);
  EXPECT_EQ(StateOf(3), PageState::kSwappingIn);
  EXPECT_FALSE(NextRead());
  EXPECT_EQ(Touch(3), PageOutcome::kServed) << "somebody else waits for it, too";
  ASSERT_EQ(Touch(4), PageOutcome::kReading) << "other pages are read meanwhile";
  EXPECT_TRUE(memory_.Blocked(thread));
  disk_->Complete(1);
  EXPECT_EQ(NextRead()->outcome, PageOutcome::kServed);
  ASSERT_FALSE(memory_.Blocked(thread));
  EXPECT_EQ(memory_.ContentRead(thread), ContentOf(3));
  disk_->Complete();
  EXPECT_EQ(NextRead()->page.value, 4u);
}

TEST_F(SwapInDiskTest, PooledPagesAreServedWhileTheDiskStalls) {
  ASSERT_NO_FATAL_FAILURE(SwapOutToDisk(40));
  for (uint64_t page = 100; page < 140; ++page) ASSERT_NO_FATAL_FAILURE(SwapOut(page));
  disk_->Stall(true);
  for (uint64_t page = 0; page < DiskReads::kMaxReads; ++page) {
    ASSERT_EQ(Touch(page), PageOutcome::kReading);
  }
  EXPECT_EQ(Touch(39), PageOutcome::kRetry) << "later";
  EXPECT_EQ(StateOf(39), PageState::kSwapped);
  for (uint64_t page = 100; page < 140; ++page) {
    ASSERT_EQ(Touch(page), PageOutcome::kServed);
    ASSERT_EQ(memory_.Content({page}), ContentOf(page));
  }
  disk_->Stall(false);
  disk_->Complete();
  for (uint64_t page = 0; page < DiskReads::kMaxReads; ++page) {
    ASSERT_EQ(NextRead()->outcome, PageOutcome::kServed);
    ASSERT_EQ(memory_.Content({page}), ContentOf(page));
  }
}

TEST_F(SwapInDiskTest, ReadIsTriedThreeTimesBeforeThePageIsLost) {
  ASSERT_NO_FATAL_FAILURE(SwapOutToDisk(10));
  disk_->FailNextReads(2);
  EXPECT_EQ(OutcomeOf(3), PageOutcome::kServed);
  EXPECT_EQ(memory_.Content({3}), ContentOf(3));
  disk_->FailNextReads(3);
  EXPECT_EQ(OutcomeOf(4), PageOutcome::kLost);
  EXPECT_EQ(StateOf(4), PageState::kLost);
  EXPECT_EQ(state_->stats().lost_pages, 1u);
  EXPECT_TRUE(memory_.Look({4}).hole) << "nothing is guessed";
  EXPECT_STREQ(state_->losses().Take()->reason, "the disk does not give its content back");
  // The disk is well again.
  EXPECT_EQ(OutcomeOf(4), PageOutcome::kServed);
  EXPECT_EQ(memory_.Content({4}), ContentOf(4));
  EXPECT_EQ(state_->stats().lost_pages, 0u);
  EXPECT_EQ(tier_->stats(now_ns_).failed_reads, 5u);
}

TEST_F(SwapInDiskTest, KernelThatTakesNoReadsLeavesThePageAsItWas) {
  ASSERT_NO_FATAL_FAILURE(SwapOutToDisk(10));
  disk_->SetRefuse(true);
  EXPECT_EQ(Touch(3), PageOutcome::kRetry);
  EXPECT_EQ(StateOf(3), PageState::kSwapped);
  disk_->SetRefuse(false);
  ASSERT_NO_FATAL_FAILURE(ExpectComesFromDisk(3, ContentOf(3)));
}

TEST_F(SwapInDiskTest, PageDiscardedWhileItIsReadIsFreedAndWaitersGoOn) {
  ASSERT_NO_FATAL_FAILURE(SwapOutToDisk(10));
  const auto thread = memory_.StartRead({3});
  ASSERT_EQ(Touch(3), PageOutcome::kReading);
  memory_.Discard({{3}, 1});
  DiscardPages(&memory_, state_, {{3}, 1});
  disk_->FailNextReads(3);
  while (!NextRead()) disk_->Complete();
  EXPECT_EQ(StateOf(3), PageState::kResident);
  EXPECT_EQ(state_->stats().lost_pages, 0u);
  Settle();
  EXPECT_EQ(state_->stats().disk_pages, 9u);
  // It asks again, and what was discarded is zero.
  std::array<GuestMessage, 4> messages;
  size_t count = 0;
  memory_.ReadMessages(messages, &count);
  EXPECT_EQ(Touch(3), PageOutcome::kServed);
  EXPECT_FALSE(memory_.Blocked(thread));
}

// Something moved it between the look at its record and the answer of the disk, and its block holds
// something else now.
TEST_F(SwapInDiskTest, PageThatWasMovedWhileItWasReadComesFromWhereItIsNow) {
  ASSERT_NO_FATAL_FAILURE(SwapOutToDisk(10));
  ASSERT_EQ(Touch(3), PageOutcome::kReading);
  const SwapLocation before = LocationOf(3);
  const std::span<std::byte> object = ObjectOnDisk(3);
  const PoolHandle handle = *state_->pool().Store(object);
  ASSERT_TRUE(state_->table().TryRelocate(
      state_->words().Load({3}).swap_id(), before,
      SwapLocation::InPool(before.codec(), before.length_bytes(), handle)));
  std::fill(object.begin(), object.end(), std::byte{0x55});
  disk_->Complete();
  EXPECT_EQ(NextRead()->outcome, PageOutcome::kServed);
  EXPECT_EQ(memory_.Content({3}), ContentOf(3));
}

// ---- Read-ahead

TEST_F(SwapInDiskTest, NearPagesOfTheSameBlockComeWithIt) {
  for (uint64_t page = 0; page < 8; ++page) {
    ASSERT_NO_FATAL_FAILURE(SwapOut(page, PartlyRandomContent(page, 300)));
  }
  WriteBackAll();
  EXPECT_EQ(OutcomeOf(3, true), PageOutcome::kServed);
  EXPECT_EQ(read_ahead_pages_, 7u);
  EXPECT_EQ(state_->stats().read_ahead, 7u);
  EXPECT_EQ(disk_->reads(), 1u);
  for (uint64_t page = 0; page < 8; ++page) {
    EXPECT_EQ(StateOf(page), PageState::kResident);
    EXPECT_EQ(memory_.Content({page}), PartlyRandomContent(page, 300));
  }
}

TEST_F(SwapInDiskTest, NothingElseComesWhereThatIsNotWantedOrFarAway) {
  for (const uint64_t page : {0, 1, 400}) {
    ASSERT_NO_FATAL_FAILURE(SwapOut(page, PartlyRandomContent(page, 300)));
  }
  WriteBackAll();
  EXPECT_EQ(OutcomeOf(0, false), PageOutcome::kServed);
  EXPECT_EQ(StateOf(1), PageState::kSwapped);
  EXPECT_EQ(OutcomeOf(1, true), PageOutcome::kServed);
  EXPECT_EQ(StateOf(400), PageState::kSwapped);
}

TEST_F(SwapInDiskTest, PoolIsNeverReadAhead) {
  for (uint64_t page = 0; page < 8; ++page) {
    ASSERT_NO_FATAL_FAILURE(SwapOut(page, PartlyRandomContent(page, 300)));
  }
  EXPECT_EQ(OutcomeOf(3, true), PageOutcome::kServed);
  EXPECT_EQ(state_->stats().read_ahead, 0u);
}

// What a block says of itself is believed by nobody.
TEST_F(SwapInDiskTest, IndexThatLiesBringsNothingWrong) {
  const unsigned seed = std::random_device()();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  for (int round = 0; round < 300; ++round) {
    for (uint64_t page = 0; page < 8; ++page) {
      ASSERT_NO_FATAL_FAILURE(SwapOut(page, PartlyRandomContent(page, 300)));
    }
    WriteBackAll();
    const uint64_t block = LocationOf(3).disk_location().block;
    constexpr uint64_t kIndexBegin = 5;
    constexpr uint64_t kIndexEnd = 104;  // of eight members
    for (int flips = 0; flips < 8; ++flips) {
      disk_->data()[PagesToBytes(block) + kIndexBegin + random() % (kIndexEnd - kIndexBegin)] =
          static_cast<std::byte>(random() % 16);
    }
    ASSERT_EQ(OutcomeOf(3, true), PageOutcome::kServed);
    for (uint64_t page = 0; page < 8; ++page) {
      if (StateOf(page) == PageState::kSwapped) {
        ASSERT_EQ(OutcomeOf(page), PageOutcome::kServed);
      }
      ASSERT_EQ(memory_.Content({page}), PartlyRandomContent(page, 300)) << page;
    }
  }
}

// ---- Damage: 10,000 of each kind (EBB_INJECTIONS), and none may reach the guest

class DiskDamageTest : public SwapInDiskTest {
 protected:
  static constexpr uint64_t kUsed = 64;

  // All compress to the same length or nearly so: what lies in the wrong place looks right.
  static PageContent ContentIn(uint64_t life, uint64_t page) {
    return PartlyRandomContent(life * 1000 + page, 900);
  }
  void SetUp() override {
    SwapInDiskTest::SetUp();
    for (uint64_t page = 0; page < kUsed; ++page) {
      ASSERT_NO_FATAL_FAILURE(SwapOut(page, ContentIn(1, page)));
    }
    WriteBackAll();
    for (uint64_t page = 0; page < kUsed; ++page) {
      const std::span<std::byte> object = ObjectOnDisk(page);
      old_objects_.emplace_back(object.begin(), object.end());
    }
    old_disk_.assign(disk_->data().begin(), disk_->data().end());
    for (uint64_t page = 0; page < kUsed; ++page) {
      ASSERT_NO_FATAL_FAILURE(ExpectComesFromDisk(page, ContentIn(1, page)));
      Settle();
      ASSERT_NO_FATAL_FAILURE(SwapOut(page, ContentIn(2, page)));
    }
    WriteBackAll();
  }

  // Has `damage` change what the disk has of a page, and touches the page. Each change must be
  // noticed.
  template <typename Damage>
  void Inject(const Damage& damage) {
    SCOPED_TRACE(testing::Message() << "seed " << seed_);
    for (int i = 0; i < injections_;) {
      const uint64_t page = random_() % kUsed;
      const std::span<std::byte> object = ObjectOnDisk(page);
      const std::vector<std::byte> before(object.begin(), object.end());
      const std::span<std::byte> block = disk_->data().subspan(
          PagesToBytes(LocationOf(page).disk_location().block), kDiskBlockBytes);
      const std::vector<std::byte> good(block.begin(), block.end());
      damage(page, object);
      const bool changed = !std::equal(before.begin(), before.end(), object.begin());
      const PageOutcome outcome = changed ? OutcomeOf(page) : PageOutcome::kServed;
      std::copy(good.begin(), good.end(), block.begin());
      if (!changed) continue;
      ++i;
      if (outcome == PageOutcome::kLost) {
        ++lost_;
        ASSERT_TRUE(memory_.Look({page}).hole);
        ASSERT_EQ(OutcomeOf(page), PageOutcome::kServed) << "whole again, and not served";
      }
      ASSERT_EQ(memory_.Content({page}), ContentIn(2, page)) << "page " << page;
      Settle();
      ASSERT_NO_FATAL_FAILURE(SwapOut(page, ContentIn(2, page)));
      WriteBackAll();
    }
  }

  static int InjectionsWanted() {
    const char* value = std::getenv("EBB_INJECTIONS");
    return value != nullptr ? std::max(1, std::atoi(value)) : 10'000;
  }

  const int injections_ = InjectionsWanted();
  const unsigned seed_ = std::random_device()();
  std::mt19937 random_{seed_};
  std::vector<std::vector<std::byte>> old_objects_;  // of the life before, by page
  std::vector<std::byte> old_disk_;                  // then
  int lost_ = 0;
};

TEST_F(DiskDamageTest, FlippedBitIsNoticed) {
  Inject([this](uint64_t, std::span<std::byte> object) {
    object[random_() % object.size()] ^= std::byte{1} << (random_() % 8);
  });
  EXPECT_GT(lost_, injections_ * 9 / 10);
}

// A part of the block, in sectors, is still what was there before.
TEST_F(DiskDamageTest, TornWriteIsNoticed) {
  constexpr uint64_t kSector = 512;
  Inject([this](uint64_t page, std::span<std::byte>) {
    const uint64_t begin = PagesToBytes(LocationOf(page).disk_location().block);
    const uint64_t sector = random_() % (kDiskBlockBytes / kSector) * kSector;
    std::copy_n(&old_disk_[(random_() % 8 + kSegmentBlocks + 1) * kDiskBlockBytes + sector],
                kSector, &disk_->data()[begin + sector]);
  });
  EXPECT_EQ(lost_, injections_);
}

TEST_F(DiskDamageTest, StaleBlockIsNoticed) {
  Inject([this](uint64_t page, std::span<std::byte> object) {
    const std::vector<std::byte>& old = old_objects_[page];
    std::copy_n(old.begin(), std::min(old.size(), object.size()), object.begin());
  });
  EXPECT_EQ(lost_, injections_);
}

TEST_F(DiskDamageTest, MisdirectedBlockIsNoticed) {
  Inject([this](uint64_t page, std::span<std::byte> object) {
    const std::span<std::byte> other = ObjectOnDisk((page + 1 + random_() % (kUsed - 1)) % kUsed);
    std::copy_n(other.begin(), std::min(other.size(), object.size()), object.begin());
  });
  EXPECT_EQ(lost_, injections_);
}

}  // namespace
}  // namespace ebb
