// SPDX-License-Identifier: MIT
#include "hostd/tiers/disk/disk_share.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "hostd/base/units.h"
#include "tests/fakes/fake_disk.h"

namespace ebb {
namespace {

class DiskShareTest : public testing::Test {
 protected:
  static constexpr auto kStore = DiskShare::Purpose::kStore;
  void SetUp() override { UseDiskOf(4 * kMiB); }
  void UseDiskOf(uint64_t bytes) {
    share_.reset();
    auto disk = std::make_unique<FakeDisk>(bytes);
    disk_ = disk.get();
    tier_ = std::make_unique<DiskTier>("a disk of the test", std::move(disk));
    share_ = *DiskShare::Create(tier_.get());
  }
  // Writes so many blocks of that value, which are not there before the disk has answered.
  DiskShare::Io StartWrite(DiskShare& share, uint32_t blocks, std::byte value) {
    const auto write = share.Begin(blocks, kStore);
    EXPECT_TRUE(write);
    for (uint32_t i = 0; i < write->blocks; ++i) {
      const DiskBlock block = share.Block(*write, i);
      std::fill(block.begin(), block.end(), value);
    }
    EXPECT_TRUE(share.Start(*write, kNsPerS));
    return *write;
  }
  std::byte OnDisk(uint32_t block) { return disk_->data()[PagesToBytes(block)]; }

  FakeDisk* disk_ = nullptr;  // of tier_
  std::unique_ptr<DiskTier> tier_;
  std::unique_ptr<DiskShare> share_;
};

TEST_F(DiskShareTest, WritesBlocksAndSaysWhenTheyAreThere) {
  const DiskShare::Io write = StartWrite(*share_, 5, std::byte{7});
  ASSERT_EQ(write.blocks, 5u);
  EXPECT_EQ(share_->in_flight(), 1u);
  EXPECT_FALSE(share_->NextEnded(kNsPerS));
  disk_->Complete();
  const auto ended = share_->NextEnded(kNsPerS);
  ASSERT_TRUE(ended && ended->ok);
  EXPECT_EQ(ended->io.first_block, write.first_block);
  for (uint32_t i = 0; i < 5; ++i) {
    EXPECT_EQ(OnDisk(write.first_block + i), std::byte{7});
    share_->Settle(write.first_block + i, 16);
  }
  EXPECT_EQ(share_->blocks().used_blocks(), 5u);
  EXPECT_EQ(tier_->stats(kNsPerS).written_blocks, 5u);
}

TEST_F(DiskShareTest, OnlySoManyWritesAreUnderWay) {
  for (uint32_t i = 0; i < DiskShare::kMaxWrites; ++i) StartWrite(*share_, 1, std::byte{1});
  EXPECT_FALSE(share_->Begin(1, kStore));
  EXPECT_FALSE(share_->is_full()) << "the disk has room";
  disk_->Complete(1);
  ASSERT_TRUE(share_->NextEnded(kNsPerS));
  EXPECT_TRUE(share_->Begin(1, kStore));
}

TEST_F(DiskShareTest, ShortenedWriteGivesTheRestBack) {
  auto write = *share_->Begin(8, kStore);
  share_->Shorten(&write, 3);
  EXPECT_EQ(share_->blocks().used_blocks(), 3u);
  share_->Shorten(&write, 0);
  share_->Cancel(write);
  EXPECT_EQ(share_->blocks().used_blocks(), 0u);
  for (uint32_t i = 0; i < DiskShare::kMaxWrites; ++i) EXPECT_TRUE(share_->Begin(1, kStore));
}

// Else the write would land in what somebody else has written there since.
TEST_F(DiskShareTest, SegmentsOfAVmThatGoesAreNobodysUntilTheDiskHasAnswered) {
  ASSERT_NO_FATAL_FAILURE(UseDiskOf(2 * kMiB));
  const DiskShare::Io late = StartWrite(*share_, 16, std::byte{1});
  share_.reset();
  const auto other = *DiskShare::Create(tier_.get());
  EXPECT_FALSE(other->Begin(1, kStore));
  EXPECT_TRUE(other->is_full());
  disk_->Complete();
  tier_->ReapAdopted();
  const DiskShare::Io write = StartWrite(*other, 16, std::byte{2});
  EXPECT_EQ(write.first_block, late.first_block);
  disk_->Complete();
  EXPECT_EQ(OnDisk(write.first_block), std::byte{2});
}

TEST_F(DiskShareTest, VmThatGoesGivesEverythingBack) {
  StartWrite(*share_, 16, std::byte{1});
  disk_->Complete();
  ASSERT_TRUE(share_->NextEnded(kNsPerS));
  ASSERT_TRUE(share_->Begin(4, kStore)) << "begun, and never started";
  EXPECT_LT(tier_->space().free_segments(), tier_->space().segments());
  share_.reset();
  EXPECT_EQ(tier_->space().free_segments(), tier_->space().segments());
}

TEST_F(DiskShareTest, NothingOfTwoVmsLiesInOneSegment) {
  const auto other = *DiskShare::Create(tier_.get());
  const DiskShare::Io first = StartWrite(*share_, 1, std::byte{1});
  const DiskShare::Io second = StartWrite(*other, 1, std::byte{2});
  EXPECT_NE(first.first_block / kSegmentBlocks, second.first_block / kSegmentBlocks);
}

TEST_F(DiskShareTest, WriteThatWasNotStartedIsNotWaitedFor) {
  ASSERT_TRUE(share_->Begin(4, kStore));
  StartWrite(*share_, 1, std::byte{1});
  EXPECT_FALSE(share_->NextEnded(kNsPerS));
  EXPECT_FALSE(tier_->stats(kNsPerS).stalled);
  EXPECT_FALSE(share_->NextEnded(5 * kNsPerS));
  EXPECT_FALSE(tier_->stats(5 * kNsPerS).stalled);
}

TEST_F(DiskShareTest, LastBlocksAreForThoseWhoMakeRoom) {
  ASSERT_NO_FATAL_FAILURE(UseDiskOf(2 * kMiB));
  uint32_t stored = 0;
  while (const auto write = share_->Begin(16, kStore)) {
    stored += write->blocks;
    for (uint32_t i = 0; i < write->blocks; ++i) share_->Settle(write->first_block + i, 16);
    share_->Cancel(*write);
  }
  EXPECT_TRUE(share_->is_full());
  EXPECT_EQ(stored, kSegmentBlocks - 1 - 16);
  EXPECT_EQ(share_->Begin(16, DiskShare::Purpose::kMakeRoom)->blocks, 16u);
}

TEST_F(DiskShareTest, DiskThatDoesNotAnswerIsCalledStalled) {
  StartWrite(*share_, 1, std::byte{1});
  EXPECT_FALSE(share_->NextEnded(2 * kNsPerS));
  EXPECT_FALSE(tier_->stats(2 * kNsPerS).stalled);
  EXPECT_FALSE(share_->NextEnded(8 * kNsPerS));
  EXPECT_TRUE(tier_->stats(8 * kNsPerS).stalled);
  disk_->Complete();
  EXPECT_TRUE(share_->NextEnded(9 * kNsPerS));
  EXPECT_FALSE(tier_->stats(12 * kNsPerS).stalled);
}

}  // namespace
}  // namespace ebb
