// SPDX-License-Identifier: MIT
#include "hostd/vm/tier_status.h"

#include <gtest/gtest.h>

#include "hostd/base/units.h"
#include "tests/hostd/vm/tier_fixture.h"

namespace ebb {
namespace {

constexpr int64_t kTierNow = 1000 * kNsPerS;

std::vector<VmStatus> TwoVms() {
  std::vector<VmStatus> vms(2);
  vms[0].pool_used_bytes = 10 * kMiB;
  vms[0].pool_original_bytes = 30 * kMiB;
  vms[0].disk_bytes = 7 * kMiB;
  vms[0].disk_used_bytes = 3 * kMiB;
  vms[1].pool_used_bytes = 1 * kMiB;
  vms[1].disk_used_bytes = 1 * kMiB;
  return vms;
}

void ExpectSays(const TierStatus& tier, const std::string& state, const std::string& part) {
  EXPECT_EQ(tier.state, state);
  EXPECT_NE(tier.message.find(part), std::string::npos) << tier.message;
  EXPECT_LT(tier.message.size(), EventLog::kMaxMessageBytes);
}

TEST(TierStatus, PoolAddsUpItsVms) {
  const std::vector<TierStatus> tiers = StatusOf(nullptr, nullptr, TwoVms(), kTierNow);
  ASSERT_EQ(tiers.size(), 1u);
  EXPECT_EQ(tiers[0].tier, "pool");
  EXPECT_EQ(tiers[0].state, "ok");
  EXPECT_EQ(tiers[0].message, "");
  EXPECT_EQ(tiers[0].max_bytes, 0u);
  EXPECT_EQ(tiers[0].used_bytes, 11 * kMiB);
  EXPECT_EQ(tiers[0].original_bytes, 30 * kMiB);
  const PoolBudget budget(64 * kMiB);
  EXPECT_EQ(StatusOf(&budget, nullptr, {}, kTierNow)[0].max_bytes, 64 * kMiB);
  const PoolBudget none;
  EXPECT_EQ(StatusOf(&none, nullptr, {}, kTierNow)[0].max_bytes, 0u);
}

TEST(TierStatus, FullPoolSaysWhatToDo) {
  std::vector<VmStatus> vms = TwoVms();
  vms[1].pool_full = true;
  ExpectSays(StatusOf(nullptr, nullptr, vms, kTierNow)[0], "full", "--disk PATH:SIZE");
  const auto disk = FakeTier(4);
  ExpectSays(StatusOf(nullptr, disk.get(), vms, kTierNow)[0], "full", "until the disk has taken");
}

TEST(TierStatus, DiskThatIsWellHasItsFigures) {
  const auto disk = FakeTier(4);
  ASSERT_TRUE(disk->space().Take());
  disk->NoteWrite(true, 16, kTierNow);
  disk->NoteRead(true);
  disk->NoteRead(false);
  const TierStatus status = StatusOf(nullptr, disk.get(), TwoVms(), kTierNow)[1];
  EXPECT_EQ(status.tier, "disk");
  EXPECT_EQ(status.path, "/a/disk");
  EXPECT_EQ(status.state, "ok");
  EXPECT_EQ(status.message, "");
  EXPECT_EQ(status.max_bytes, 5 * kMiB);
  EXPECT_EQ(status.taken_bytes, kMiB);
  EXPECT_EQ(status.used_bytes, 4 * kMiB);
  EXPECT_EQ(status.original_bytes, 7 * kMiB);
  EXPECT_EQ(status.reads, 1u);
  EXPECT_EQ(status.failed_reads, 1u);
  EXPECT_EQ(status.written_blocks, 16u);
  EXPECT_EQ(status.failed_writes, 0u);
}

TEST(TierStatus, DiskInTroubleSaysWhatThatMeansTheWorstFirst) {
  const auto disk = FakeTier(4);
  std::vector<VmStatus> vms = TwoVms();
  const auto status = [&](int64_t now_ns) { return StatusOf(nullptr, disk.get(), vms, now_ns)[1]; };
  TakeAll(disk->space());
  EXPECT_EQ(status(kTierNow).state, "ok") << "VMs may have room in their segments";
  vms[0].disk_full = true;
  ExpectSays(status(kTierNow), "full", "/a/disk is full");
  disk->NoteWrite(false, 16, kTierNow);
  ExpectSays(status(kTierNow), "failing", "write to the disk /a/disk failed");
  EXPECT_EQ(status(kTierNow).failed_writes, 1u);
  disk->NoteWaiting(kTierNow - 6 * kNsPerS, kTierNow);
  ExpectSays(status(kTierNow), "stalled", "more than 5 s");
  EXPECT_EQ(status(kTierNow + 4 * kNsPerS).state, "failing") << "it must be said again and again";
  disk->NoteWrite(true, 16, kTierNow);
  EXPECT_EQ(status(kTierNow + 4 * kNsPerS).state, "full");
}

TEST(TierStatus, DiskWithFreeSegmentsIsNotFull) {
  const auto disk = FakeTier(4);
  std::vector<VmStatus> vms = TwoVms();
  vms[0].disk_full = true;  // the last time, and then another VM went
  EXPECT_EQ(StatusOf(nullptr, disk.get(), vms, kTierNow)[1].state, "ok");
}

}  // namespace
}  // namespace ebb
