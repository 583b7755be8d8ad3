// SPDX-License-Identifier: MIT
// Faults whose pages are on a disk.
#include <gtest/gtest.h>

#include <vector>

#include "hostd/swap/fault_server.h"
#include "hostd/swap/reclaim_alarm.h"
#include "tests/hostd/swap/disk_fixture.h"

namespace ebb {
namespace {

class FaultServerDiskTest : public DiskTest {
 protected:
  void SetUp() override {
    DiskTest::SetUp();
    server_.emplace(FaultServer::Parts{&memory_, state_, &residency_, &alarm_},
                    *tier_->OpenQueue(DiskReads::kMaxReads, kDiskBlockBytes));
  }
  // So much time passes, in which the server does what is due.
  void ServeFor(int64_t ns, bool disk_answers) {
    for (const int64_t end_ns = serve_ns_ + ns; serve_ns_ < end_ns; serve_ns_ += kNsPerMs) {
      while (server_->ServePending(serve_ns_)) {
      }
      if (disk_answers) disk_->Complete();
    }
  }

  Residency residency_;
  ReclaimAlarm alarm_;
  std::optional<FaultServer> server_;
  int64_t serve_ns_ = kNsPerS;
};

TEST_F(FaultServerDiskTest, FaultWaitsForTheDiskAndOthersDoNot) {
  ASSERT_NO_FATAL_FAILURE(SwapOutToDisk(50));
  ASSERT_NO_FATAL_FAILURE(SwapOut(100));
  const auto on_disk = memory_.StartRead({3});
  const auto pooled = memory_.StartRead({100});
  ServeFor(10 * kNsPerMs, false);
  EXPECT_TRUE(memory_.Blocked(on_disk));
  EXPECT_FALSE(memory_.Blocked(pooled));
  EXPECT_GT(server_->UntilNextDue(serve_ns_), 0) << "a disk that never answers is to be noticed";
  ServeFor(10 * kNsPerMs, true);
  ASSERT_FALSE(memory_.Blocked(on_disk));
  EXPECT_EQ(memory_.ContentRead(on_disk), ContentOf(3));
  EXPECT_EQ(state_->stats().fault_latency.count(), 2u);
  EXPECT_EQ(server_->UntilNextDue(serve_ns_), -1);
}

TEST_F(FaultServerDiskTest, MoreFaultsThanReadsThatCanBeUnderWayAreAllServed) {
  ASSERT_NO_FATAL_FAILURE(SwapOutToDisk(200));
  std::vector<FakeGuestMemory::ThreadId> threads;
  for (uint64_t page = 0; page < 200; ++page) threads.push_back(memory_.StartRead({page}));
  ServeFor(kNsPerS, true);
  for (uint64_t page = 0; page < 200; ++page) {
    ASSERT_FALSE(memory_.Blocked(threads[page])) << page;
    ASSERT_EQ(memory_.ContentRead(threads[page]), ContentOf(page));
  }
}

// Each try wakes those that wait, and they ask again at once: that is no reason to try again.
TEST_F(FaultServerDiskTest, LostPageThatManyWaitForIsNotReadWithoutPause) {
  ASSERT_NO_FATAL_FAILURE(SwapOutToDisk(10));
  disk_->FailNextReads(1'000'000);
  std::vector<FakeGuestMemory::ThreadId> threads;
  for (int i = 0; i < 40; ++i) threads.push_back(memory_.StartRead({3}));
  const uint64_t before = disk_->reads();
  ServeFor(10 * kNsPerS, true);
  EXPECT_EQ(StateOf(3), PageState::kLost);
  EXPECT_LE(disk_->reads() - before, 3 * 6u);
  EXPECT_EQ(state_->stats().lost_pages, 1u);
  disk_->FailNextReads(0);
  ServeFor(40 * kNsPerS, true);
  for (const auto thread : threads) {
    ASSERT_FALSE(memory_.Blocked(thread));
    EXPECT_EQ(memory_.ContentRead(thread), ContentOf(3));
  }
  EXPECT_EQ(state_->stats().lost_pages, 0u);
}

// Its VM is held until the page is back, however often and for how long it is tried.
TEST_F(FaultServerDiskTest, LostPageCountsAsLostWhileItIsTriedAgain) {
  ASSERT_NO_FATAL_FAILURE(SwapOutToDisk(10));
  disk_->FailNextReads(3);
  const auto thread = memory_.StartRead({3});
  ServeFor(500 * kNsPerMs, true);
  ASSERT_EQ(StateOf(3), PageState::kLost);
  ServeFor(2 * kNsPerS, false);
  EXPECT_EQ(StateOf(3), PageState::kSwappingIn);
  EXPECT_EQ(state_->stats().lost_pages, 1u);
  ServeFor(kNsPerS, true);
  EXPECT_FALSE(memory_.Blocked(thread));
  EXPECT_EQ(state_->stats().lost_pages, 0u);
}

TEST_F(FaultServerDiskTest, VmAtItsLimitGetsNothingThatItDidNotAskFor) {
  for (const bool at_limit : {true, false}) {
    for (uint64_t page = 0; page < 8; ++page) {
      ASSERT_NO_FATAL_FAILURE(SwapOut(page, PartlyRandomContent(page, 300)));
    }
    WriteBackAll();
    residency_.SetLimit(100'000);
    residency_.Refresh(at_limit ? 99'990 : 1000);
    residency_.SetReady(1);
    const auto thread = memory_.StartRead({3});
    ServeFor(10 * kNsPerMs, true);
    ASSERT_FALSE(memory_.Blocked(thread));
    EXPECT_EQ(StateOf(4), at_limit ? PageState::kSwapped : PageState::kResident);
    for (uint64_t page = 0; page < 8; ++page) memory_.StartRead({page});
    ServeFor(10 * kNsPerMs, true);
    Settle();
  }
}

}  // namespace
}  // namespace ebb
