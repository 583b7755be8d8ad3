// SPDX-License-Identifier: MIT
#include "hostd/tiers/disk/disk_tier.h"

#include <gtest/gtest.h>

#include <memory>

#include "hostd/base/units.h"
#include "tests/fakes/fake_disk.h"

namespace ebb {
namespace {

class DiskTierTest : public testing::Test {
 protected:
  static constexpr int64_t kNow = 100 * kNsPerS;

  DiskTier tier_{"/the/disk", std::make_unique<FakeDisk>(8 * kMiB)};
};

TEST_F(DiskTierTest, AllButTheHeadersSegmentCanBeHandedOut) {
  EXPECT_EQ(tier_.name(), "/the/disk");
  EXPECT_EQ(tier_.stats(kNow).bytes, 8 * kMiB);
  EXPECT_EQ(tier_.stats(kNow).segments, 7u);
  EXPECT_EQ(tier_.stats(kNow).free_segments, 7u);
}

TEST_F(DiskTierTest, FailedWritePausesAllWritesForLongerEachTime) {
  EXPECT_TRUE(tier_.MayWrite(kNow));
  tier_.NoteWrite(false, 16, kNow);
  EXPECT_FALSE(tier_.MayWrite(kNow + kNsPerS - 1));
  EXPECT_TRUE(tier_.MayWrite(kNow + kNsPerS));
  int64_t now = kNow + kNsPerS;
  for (const int64_t pause_s : {2, 4, 8, 16, 30, 30}) {
    tier_.NoteWrite(false, 16, now);
    EXPECT_FALSE(tier_.MayWrite(now + pause_s * kNsPerS - 1));
    now += pause_s * kNsPerS;
    EXPECT_TRUE(tier_.MayWrite(now));
  }
  EXPECT_EQ(tier_.stats(now).failed_writes, 7u);
  EXPECT_TRUE(tier_.stats(now).failing);
}

TEST_F(DiskTierTest, ManyThatFailAtOnceCountAsOne) {
  for (int i = 0; i < 16; ++i) tier_.NoteWrite(false, 16, kNow);
  EXPECT_TRUE(tier_.MayWrite(kNow + kNsPerS));
}

TEST_F(DiskTierTest, WriteThatSucceedsEndsThePauses) {
  tier_.NoteWrite(false, 16, kNow);
  tier_.NoteWrite(false, 16, kNow + kNsPerS);
  tier_.NoteWrite(true, 16, kNow + 4 * kNsPerS);
  EXPECT_FALSE(tier_.stats(kNow + 4 * kNsPerS).failing);
  EXPECT_EQ(tier_.stats(kNow).written_blocks, 16u);
  tier_.NoteWrite(false, 16, kNow + 5 * kNsPerS);
  EXPECT_TRUE(tier_.MayWrite(kNow + 6 * kNsPerS)) << "1 s, as the first time";
}

TEST_F(DiskTierTest, ReadsAreCounted) {
  tier_.NoteRead(true);
  tier_.NoteRead(true);
  tier_.NoteRead(false);
  EXPECT_EQ(tier_.stats(kNow).reads, 2u);
  EXPECT_EQ(tier_.stats(kNow).failed_reads, 1u);
}

TEST_F(DiskTierTest, StalledIsForgottenWhenNobodySaysItAnyMore) {
  tier_.NoteWaiting(kNow - 2 * kNsPerS, kNow);
  EXPECT_FALSE(tier_.stats(kNow).stalled);
  tier_.NoteWaiting(kNow - 6 * kNsPerS, kNow);
  EXPECT_TRUE(tier_.stats(kNow).stalled);
  tier_.NoteWaiting(kNow, kNow);
  EXPECT_TRUE(tier_.stats(kNow).stalled) << "another VM may still wait";
  EXPECT_FALSE(tier_.stats(kNow + 4 * kNsPerS).stalled);
}

}  // namespace
}  // namespace ebb
