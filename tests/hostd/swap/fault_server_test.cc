// SPDX-License-Identifier: MIT
#include "hostd/swap/fault_server.h"

#include <gtest/gtest.h>

#include <vector>

#include "tests/hostd/swap/vm_pages.h"

namespace ebb {
namespace {

// Time passes in steps of a tenth of a millisecond, and only while the server works.
class FaultServerTest : public testing::Test {
 protected:
  static constexpr uint64_t kPages = 400;
  static constexpr int64_t kStepNs = kNsPerMs / 10;

  ~FaultServerTest() override {
    for (const std::string& violation : vm_.memory.Violations()) ADD_FAILURE() << violation;
  }

  // Serves until something has happened; false at the deadline.
  template <typename Condition>
  bool ServesUntil(Condition condition) {
    const int64_t end_ns = now_ns_ + kTestDeadlineNs;
    for (; !condition(); now_ns_ += kStepNs) {
      if (now_ns_ > end_ns) return false;
      server_.ServePending(now_ns_);
    }
    return true;
  }
  bool Served(FakeGuestMemory::ThreadId guest_thread) {
    return ServesUntil([&] { return !vm_.memory.Blocked(guest_thread); });
  }
  // The VM is at its limit and nothing can be dropped at once.
  void FillUpToTheLimit() {
    residency_.SetLimit(1000);
    residency_.Refresh(1000);
  }
  const SwapStats& stats() { return vm_.state->stats(); }

  VmPages vm_{kPages};
  Residency residency_;
  ReclaimAlarm alarm_;
  FaultServer server_{{&vm_.memory, vm_.state, &residency_, &alarm_}};
  int64_t now_ns_ = kNsPerS;
};

TEST_F(FaultServerTest, FaultIsServedAndCounted) {
  vm_.SwapOut(3);
  const auto reader = vm_.memory.StartRead({3});
  ASSERT_TRUE(Served(reader));
  EXPECT_EQ(vm_.memory.ContentRead(reader), VmPages::ContentOf(3));
  EXPECT_TRUE(ServesUntil([&] { return stats().fault_latency.count() == 1; }));
  EXPECT_EQ(stats().faults, 1u);
  EXPECT_EQ(stats().zero_faults, 0u);
  EXPECT_EQ(residency_.resident(), 1u);
}

TEST_F(FaultServerTest, WriteToAProtectedPageIsServedAndCounted) {
  vm_.Store(3);
  ASSERT_TRUE(Served(vm_.memory.StartWrite({3}, std::byte{1})));
  EXPECT_EQ(stats().write_protect_faults, 1u);
  EXPECT_EQ(stats().zero_faults, 0u);
}

TEST_F(FaultServerTest, DiscardIsHandledWithoutAnyFault) {
  vm_.SwapOut(3);
  vm_.memory.Discard({{3}, 1});
  EXPECT_TRUE(ServesUntil([&] { return stats().discarded == 1; }));
  EXPECT_EQ(vm_.StateOf(3), PageState::kResident);
}

TEST_F(FaultServerTest, FirstTouchFillsTheNeighboursToo) {
  ASSERT_TRUE(Served(vm_.memory.StartRead({100})));
  EXPECT_TRUE(ServesUntil([&] { return stats().zero_filled == 16; }));
  EXPECT_EQ(stats().zero_faults, 1u);
  EXPECT_FALSE(vm_.memory.Look({115}).hole);
  EXPECT_TRUE(vm_.memory.Look({116}).hole);
  EXPECT_TRUE(ServesUntil([&] { return residency_.resident() == 16; }));
}

// ---- What cannot be answered now is put aside ---------------------------------------------------

TEST_F(FaultServerTest, FaultIsTriedAgainWhileTheMemoryMapChanges) {
  vm_.SwapOut(3);
  vm_.memory.FailNext(GuestOp::kFill, OsResult::kRetry, 20);
  EXPECT_TRUE(Served(vm_.memory.StartRead({3})));
}

TEST_F(FaultServerTest, DiscardIsReadWhileAFaultWaitsForIt) {
  vm_.SwapOut(3);
  vm_.SwapOut(4);
  const auto reader = vm_.memory.StartRead({3});
  vm_.memory.Discard({{4}, 1});  // until it is read, page 3 cannot be filled
  EXPECT_TRUE(Served(reader));
}

TEST_F(FaultServerTest, MoreWaitingFaultsThanCanBePutAsideAreAllServedInTheEnd) {
  std::vector<FakeGuestMemory::ThreadId> readers;
  for (uint64_t page = 0; page < 350; ++page) vm_.SwapOut(page);
  vm_.memory.FailNext(GuestOp::kFill, OsResult::kNoMemory, 500);
  for (uint64_t page = 0; page < 350; ++page) readers.push_back(vm_.memory.StartRead({page}));
  for (const auto reader : readers) ASSERT_TRUE(Served(reader));
}

TEST_F(FaultServerTest, SecondMessageOfAWaitingPageIsServedWithTheFirst) {
  vm_.SwapOut(3);
  vm_.memory.FailNext(GuestOp::kFill, OsResult::kNoMemory, 50);
  const auto reader = vm_.memory.StartRead({3});
  const auto writer = vm_.memory.StartWrite({3}, std::byte{9});
  EXPECT_TRUE(Served(reader));
  EXPECT_TRUE(Served(writer));
}

TEST_F(FaultServerTest, FaultThatFindsNoMemoryIsCountedOnceAndAsksReclaimEachTime) {
  vm_.SwapOut(3);
  vm_.memory.FailNext(GuestOp::kFill, OsResult::kNoMemory, 3);
  const auto reader = vm_.memory.StartRead({3});
  for (int time = 0; time < 3; ++time) {
    EXPECT_TRUE(ServesUntil([&] { return residency_.TakeNoMemory(); })) << time;
  }
  EXPECT_TRUE(Served(reader));
  EXPECT_EQ(stats().no_memory, 1u);
}

TEST_F(FaultServerTest, SomeOfWhatIsFreedInAShortageIsLeftAlone) {
  for (uint64_t page = 0; page < 380; ++page) vm_.SwapOut(page);
  vm_.memory.FailNext(GuestOp::kFill, OsResult::kNoMemory);
  const auto first = vm_.memory.StartRead({0});
  ASSERT_TRUE(ServesUntil([&] { return stats().no_memory == 1; }));
  // So much is freed, and another page is wanted.
  constexpr uint64_t kMore = 10;
  Count(vm_.state->stats().swapped_out, MemoryShortage::kRoomPages + kMore);
  ASSERT_TRUE(Served(first));
  std::vector<FakeGuestMemory::ThreadId> others;
  for (uint64_t page = 1; page <= 1 + kMore; ++page) others.push_back(vm_.memory.StartRead({page}));
  const int64_t start_ns = now_ns_;
  ASSERT_TRUE(Served(others.back()));
  EXPECT_GE(now_ns_ - start_ns, MemoryShortage::kTryNs / 2) << "the last one has to wait";
  EXPECT_TRUE(residency_.TakeNoMemory());
}

TEST_F(FaultServerTest, FirstTouchThatFindsNoMemoryIsTriedAgain) {
  vm_.memory.FailNext(GuestOp::kFillZero, OsResult::kNoMemory, 2);
  EXPECT_TRUE(Served(vm_.memory.StartRead({100})));
  EXPECT_TRUE(residency_.TakeNoMemory());
  EXPECT_EQ(stats().no_memory, 1u);
}

TEST_F(FaultServerTest, LostPageHoldsItsThreadAndNobodyElse) {
  vm_.SwapOut(3);
  vm_.SwapOut(4);
  vm_.FlipStoredByte(3);
  const auto held = vm_.memory.StartRead({3});
  ASSERT_TRUE(ServesUntil([&] { return stats().lost_pages == 1; }));
  EXPECT_TRUE(Served(vm_.memory.StartRead({4})));
  EXPECT_TRUE(vm_.memory.Blocked(held));
}

TEST_F(FaultServerTest, LostPageIsTriedAgainAndHeals) {
  vm_.SwapOut(3);
  vm_.FlipStoredByte(3);
  const auto held = vm_.memory.StartRead({3});
  ASSERT_TRUE(ServesUntil([&] { return stats().lost_pages == 1; }));
  vm_.FlipStoredByte(3);
  ASSERT_TRUE(Served(held));
  EXPECT_EQ(vm_.memory.ContentRead(held), VmPages::ContentOf(3));
  EXPECT_EQ(stats().lost_pages, 0u);
}

TEST_F(FaultServerTest, LostPageThatHealsCountsAsASwapIn) {
  vm_.SwapOut(3);
  vm_.FlipStoredByte(3);
  const auto held = vm_.memory.StartRead({3});
  ASSERT_TRUE(ServesUntil([&] { return stats().lost_pages == 1; }));
  vm_.FlipStoredByte(3);
  ASSERT_TRUE(Served(held));
  EXPECT_TRUE(ServesUntil([&] { return stats().fault_latency.count() == 1; }));
  EXPECT_EQ(stats().zero_faults, 0u);
  EXPECT_TRUE(vm_.memory.Look({4}).hole);
}

// Its owner has yet to answer.
TEST_F(FaultServerTest, FaultOnAnOwnedPageIsNoFirstTouch) {
  const StoredPage stored = vm_.Store(3);
  vm_.memory.AfterNext(GuestOp::kPunch, [&] {
    vm_.memory.StartRead({3});
    EXPECT_TRUE(ServesUntil([&] { return vm_.state->words().Load({3}).waiter(); }));
  });
  DropPages(&vm_.memory, vm_.state, {&stored, 1});
  EXPECT_TRUE(ServesUntil([&] { return vm_.StateOf(3) == PageState::kResident; }));
  EXPECT_TRUE(ServesUntil([&] { return stats().fault_latency.count() == 1; }));
  EXPECT_EQ(stats().zero_faults, 0u);
  EXPECT_TRUE(vm_.memory.Look({4}).hole);
}

// Its threads are woken and fault again; the fault that was put aside must not swallow that until
// its own next try, up to 30 s later.
TEST_F(FaultServerTest, ThreadOfADiscardedLostPageGoesOnAtOnce) {
  vm_.SwapOut(3);
  vm_.FlipStoredByte(3);
  const auto held = vm_.memory.StartRead({3});
  ASSERT_TRUE(ServesUntil([&] { return stats().lost_pages == 1; }));
  const int64_t start_ns = now_ns_;
  vm_.memory.Discard({{3}, 1});
  ASSERT_TRUE(Served(held));
  EXPECT_LT(now_ns_ - start_ns, kNsPerS / 2);
}

// ---- Pacing -------------------------------------------------------------------------------------

TEST_F(FaultServerTest, SwapInOfAVmAtItsLimitIsPacedForTenMillisecondsOnce) {
  vm_.SwapOut(3);
  FillUpToTheLimit();
  const int64_t start_ns = now_ns_;
  ASSERT_TRUE(Served(vm_.memory.StartRead({3})));
  EXPECT_GE(now_ns_ - start_ns, 10 * kNsPerMs);
  EXPECT_EQ(stats().paced_faults, 1u);
  EXPECT_GE(stats().paced_ns, static_cast<uint64_t>(10 * kNsPerMs));
}

TEST_F(FaultServerTest, FirstTouchOfAVmAtItsLimitIsPacedAndFillsNoNeighbours) {
  FillUpToTheLimit();
  ASSERT_TRUE(Served(vm_.memory.StartRead({100})));
  EXPECT_EQ(stats().paced_faults, 1u);
  EXPECT_TRUE(ServesUntil([&] { return stats().zero_faults == 1; }));
  EXPECT_TRUE(vm_.memory.Look({101}).hole);
}

TEST_F(FaultServerTest, WriteToAPageThatIsThereIsNotPaced) {
  vm_.Store(3);
  FillUpToTheLimit();
  ASSERT_TRUE(Served(vm_.memory.StartWrite({3}, std::byte{1})));
  EXPECT_EQ(stats().paced_faults, 0u);
}

TEST_F(FaultServerTest, VmWithAReserveIsNotPaced) {
  vm_.SwapOut(3);
  FillUpToTheLimit();
  residency_.SetReady(10);
  ASSERT_TRUE(Served(vm_.memory.StartRead({3})));
  EXPECT_EQ(stats().paced_faults, 0u);
}

TEST_F(FaultServerTest, DelayForOtherReasonsDoesNotPaceAFaultAgain) {
  vm_.SwapOut(3);
  FillUpToTheLimit();
  vm_.memory.FailNext(GuestOp::kFill, OsResult::kNoMemory, 5);
  ASSERT_TRUE(Served(vm_.memory.StartRead({3})));
  EXPECT_EQ(stats().paced_faults, 1u);
}

TEST_F(FaultServerTest, QemuThatIsGoneLeavesItWaitingQuietly) {
  vm_.SwapOut(3);
  vm_.memory.StartRead({3});
  vm_.memory.SetGone();
  EXPECT_TRUE(ServesUntil([&] { return stats().faults == 1; }));
}

}  // namespace
}  // namespace ebb
