// SPDX-License-Identifier: MIT
#include "hostd/swap/disk_reads.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "hostd/base/clock.h"
#include "tests/fakes/fake_disk.h"

namespace ebb {
namespace {

class DiskReadsTest : public testing::Test {
 protected:
  DiskReads::Read ReadOf(uint32_t block) {
    return {{block}, PageWord(), SwapLocation::OnDisk(Codec::kLz4, 100, {0, block, 0}), 0};
  }

  FakeDisk disk_{4 * kMiB};
  DiskReads reads_{*disk_.OpenQueue(DiskReads::kMaxReads, kDiskBlockBytes)};
};

TEST_F(DiskReadsTest, EachReadEndsWithItsBlock) {
  for (uint32_t block = 1; block <= 20; ++block) {
    disk_.data()[PagesToBytes(block)] = std::byte(block);
    ASSERT_TRUE(reads_.Start(ReadOf(block)));
  }
  EXPECT_EQ(reads_.in_flight(), 20u);
  EXPECT_FALSE(reads_.Next());
  disk_.Complete();
  std::set<uint64_t> pages;
  while (const auto ended = reads_.Next()) {
    EXPECT_TRUE(ended->ok);
    EXPECT_EQ(reads_.Block(ended->slot)[0], std::byte(ended->read.page.value));
    pages.insert(ended->read.page.value);
    reads_.Release(ended->slot);
  }
  EXPECT_EQ(pages.size(), 20u);
  EXPECT_EQ(reads_.in_flight(), 0u);
}

TEST_F(DiskReadsTest, SlotIsTakenUntilItsBlockIsReleased) {
  for (uint32_t i = 0; i < DiskReads::kMaxReads; ++i) ASSERT_TRUE(reads_.Start(ReadOf(i)));
  EXPECT_FALSE(reads_.Start(ReadOf(100)));
  disk_.Complete();
  const auto ended = reads_.Next();
  EXPECT_FALSE(reads_.Start(ReadOf(100)));
  reads_.Release(ended->slot);
  EXPECT_TRUE(reads_.Start(ReadOf(100)));
}

TEST_F(DiskReadsTest, FailedReadCanBeTriedAgain) {
  disk_.FailNextReads(1);
  ASSERT_TRUE(reads_.Start(ReadOf(7)));
  disk_.Complete();
  auto ended = reads_.Next();
  ASSERT_FALSE(ended->ok);
  ASSERT_TRUE(reads_.TryAgain(ended->slot));
  disk_.Complete();
  ended = reads_.Next();
  EXPECT_TRUE(ended->ok);
  EXPECT_EQ(ended->read.tries, 1);
}

TEST_F(DiskReadsTest, KernelThatTakesNothingLeavesTheSlotFree) {
  disk_.SetRefuse(true);
  for (uint32_t i = 0; i < 2 * DiskReads::kMaxReads; ++i) ASSERT_FALSE(reads_.Start(ReadOf(i)));
  disk_.SetRefuse(false);
  EXPECT_TRUE(reads_.Start(ReadOf(1)));
}

TEST_F(DiskReadsTest, SaysSinceWhenTheOldestHasBeenWaiting) {
  EXPECT_EQ(reads_.OldestStartNs(), std::nullopt);
  const int64_t before_ns = MonotonicNs();
  ASSERT_TRUE(reads_.Start(ReadOf(1)));
  const int64_t between_ns = MonotonicNs();
  ASSERT_TRUE(reads_.Start(ReadOf(2)));
  EXPECT_GE(reads_.OldestStartNs(), before_ns);
  EXPECT_LE(reads_.OldestStartNs(), between_ns);
  disk_.Complete();
  while (const auto ended = reads_.Next()) reads_.Release(ended->slot);
  EXPECT_EQ(reads_.OldestStartNs(), std::nullopt);
}

TEST(DiskReads, WithoutADiskNothingIsRead) {
  DiskReads reads(nullptr);
  EXPECT_FALSE(reads.Start({}));
  EXPECT_FALSE(reads.Next());
  EXPECT_EQ(reads.in_flight(), 0u);
  EXPECT_EQ(reads.fd(), -1);
}

}  // namespace
}  // namespace ebb
