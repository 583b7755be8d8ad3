// SPDX-License-Identifier: MIT
#include "hostd/vm/fault_thread.h"

#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "tests/hostd/vm/vm_fixture.h"

namespace ebb {
namespace {

class FaultThreadTest : public testing::Test {
 protected:
  static constexpr uint64_t kPages = 400;

  ~FaultThreadTest() override {
    thread_.Stop();
    for (const std::string& violation : vm_.memory.Violations()) ADD_FAILURE() << violation;
  }

  bool Served(FakeGuestMemory::ThreadId guest_thread) {
    return WaitUntil([&] { return !vm_.memory.Blocked(guest_thread); });
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
  FaultThread thread_{"test", {&vm_.memory, vm_.state.get(), &residency_, &alarm_}};
};

TEST_F(FaultThreadTest, FaultIsServedAndCounted) {
  vm_.SwapOut(3);
  thread_.Start();
  const auto reader = vm_.memory.StartRead({3});
  ASSERT_TRUE(Served(reader));
  EXPECT_EQ(vm_.memory.ContentRead(reader), VmPages::ContentOf(3));
  EXPECT_TRUE(WaitUntil([&] { return stats().fault_latency.count() == 1; }));
  EXPECT_EQ(stats().faults, 1u);
  EXPECT_EQ(stats().zero_faults, 0u);
  EXPECT_EQ(residency_.resident(), 1u);
}

TEST_F(FaultThreadTest, FaultsFromBeforeItsStartAreServed) {
  std::vector<FakeGuestMemory::ThreadId> readers;
  for (uint64_t page = 0; page < 40; ++page) {
    vm_.SwapOut(page);
    readers.push_back(vm_.memory.StartRead({page}));
  }
  thread_.Start();
  for (const auto reader : readers) EXPECT_TRUE(Served(reader));
  EXPECT_TRUE(WaitUntil([&] { return stats().fault_latency.count() == 40; }));
}

TEST_F(FaultThreadTest, WriteToAProtectedPageIsServedAndCounted) {
  vm_.Store(3);
  thread_.Start();
  ASSERT_TRUE(Served(vm_.memory.StartWrite({3}, std::byte{1})));
  EXPECT_EQ(stats().write_protect_faults, 1u);
  EXPECT_EQ(stats().zero_faults, 0u);
}

TEST_F(FaultThreadTest, DiscardIsHandledWithoutAnyFault) {
  vm_.SwapOut(3);
  thread_.Start();
  vm_.memory.Discard({{3}, 1});
  EXPECT_TRUE(WaitUntil([&] { return stats().discarded == 1; }));
  EXPECT_EQ(vm_.StateOf(3), PageState::kResident);
}

TEST_F(FaultThreadTest, FirstTouchFillsTheNeighboursToo) {
  thread_.Start();
  ASSERT_TRUE(Served(vm_.memory.StartRead({100})));
  EXPECT_TRUE(WaitUntil([&] { return stats().zero_filled == 16; }));
  EXPECT_EQ(stats().zero_faults, 1u);
  EXPECT_FALSE(vm_.memory.Look({115}).hole);
  EXPECT_TRUE(vm_.memory.Look({116}).hole);
  EXPECT_TRUE(WaitUntil([&] { return residency_.resident() == 16; }));
}

// ---- What cannot be answered now is put aside ---------------------------------------------------

TEST_F(FaultThreadTest, FaultIsTriedAgainWhileTheMemoryMapChanges) {
  vm_.SwapOut(3);
  vm_.memory.FailNext(GuestOp::kFill, OsResult::kRetry, 20);
  thread_.Start();
  EXPECT_TRUE(Served(vm_.memory.StartRead({3})));
}

TEST_F(FaultThreadTest, DiscardIsReadWhileAFaultWaitsForIt) {
  vm_.SwapOut(3);
  vm_.SwapOut(4);
  const auto reader = vm_.memory.StartRead({3});
  vm_.memory.Discard({{4}, 1});  // until it is read, page 3 cannot be filled
  thread_.Start();
  EXPECT_TRUE(Served(reader));
}

TEST_F(FaultThreadTest, FullHostIsTriedAgainAndReclaimIsWoken) {
  vm_.SwapOut(3);
  vm_.memory.FailNext(GuestOp::kFill, OsResult::kNoMemory, 200);
  std::atomic<bool> woken{false};
  std::jthread reclaim([&] {
    const int64_t start_ns = MonotonicNs();
    alarm_.Sleep(kTestDeadlineNs);
    woken = MonotonicNs() - start_ns < kTestDeadlineNs;
  });
  thread_.Start();
  const auto reader = vm_.memory.StartRead({3});
  reclaim.join();
  EXPECT_TRUE(woken);
  EXPECT_TRUE(Served(reader));
}

TEST_F(FaultThreadTest, MoreWaitingFaultsThanCanBePutAsideAreAllServedInTheEnd) {
  std::vector<FakeGuestMemory::ThreadId> readers;
  for (uint64_t page = 0; page < 350; ++page) vm_.SwapOut(page);
  vm_.memory.FailNext(GuestOp::kFill, OsResult::kNoMemory, 500);
  for (uint64_t page = 0; page < 350; ++page) readers.push_back(vm_.memory.StartRead({page}));
  thread_.Start();
  for (const auto reader : readers) ASSERT_TRUE(Served(reader));
}

TEST_F(FaultThreadTest, SecondMessageOfAWaitingPageIsServedWithTheFirst) {
  vm_.SwapOut(3);
  vm_.memory.FailNext(GuestOp::kFill, OsResult::kNoMemory, 50);
  thread_.Start();
  const auto reader = vm_.memory.StartRead({3});
  const auto writer = vm_.memory.StartWrite({3}, std::byte{9});
  EXPECT_TRUE(Served(reader));
  EXPECT_TRUE(Served(writer));
}

TEST_F(FaultThreadTest, LostPageHoldsItsThreadAndNobodyElse) {
  vm_.SwapOut(3);
  vm_.SwapOut(4);
  vm_.FlipStoredByte(3);
  thread_.Start();
  const auto held = vm_.memory.StartRead({3});
  ASSERT_TRUE(WaitUntil([&] { return stats().lost_pages == 1; }));
  EXPECT_TRUE(Served(vm_.memory.StartRead({4})));
  EXPECT_TRUE(vm_.memory.Blocked(held));
}

TEST_F(FaultThreadTest, LostPageIsTriedAgainAndHeals) {
  vm_.SwapOut(3);
  vm_.FlipStoredByte(3);
  thread_.Start();
  const auto held = vm_.memory.StartRead({3});
  ASSERT_TRUE(WaitUntil([&] { return stats().lost_pages == 1; }));
  vm_.FlipStoredByte(3);
  ASSERT_TRUE(Served(held));
  EXPECT_EQ(vm_.memory.ContentRead(held), VmPages::ContentOf(3));
  EXPECT_EQ(stats().lost_pages, 0u);
}

TEST_F(FaultThreadTest, LostPageThatHealsCountsAsASwapIn) {
  vm_.SwapOut(3);
  vm_.FlipStoredByte(3);
  thread_.Start();
  const auto held = vm_.memory.StartRead({3});
  ASSERT_TRUE(WaitUntil([&] { return stats().lost_pages == 1; }));
  vm_.FlipStoredByte(3);
  ASSERT_TRUE(Served(held));
  EXPECT_TRUE(WaitUntil([&] { return stats().fault_latency.count() == 1; }));
  EXPECT_EQ(stats().zero_faults, 0u);
  EXPECT_TRUE(vm_.memory.Look({4}).hole);
}

// Its owner has yet to answer.
TEST_F(FaultThreadTest, FaultOnAnOwnedPageIsNoFirstTouch) {
  const StoredPage stored = vm_.Store(3);
  vm_.memory.AfterNext(GuestOp::kPunch, [&] {
    vm_.memory.StartRead({3});
    EXPECT_TRUE(WaitUntil([&] { return vm_.state->words().Load({3}).waiter(); }));
  });
  thread_.Start();
  DropPages(&vm_.memory, vm_.state.get(), {&stored, 1});
  EXPECT_TRUE(WaitUntil([&] { return vm_.StateOf(3) == PageState::kResident; }));
  EXPECT_TRUE(WaitUntil([&] { return stats().fault_latency.count() == 1; }));
  EXPECT_EQ(stats().zero_faults, 0u);
  EXPECT_TRUE(vm_.memory.Look({4}).hole);
}

// Its threads are woken and fault again; the fault that was put aside must not swallow that until
// its own next try, up to 30 s later.
TEST_F(FaultThreadTest, ThreadOfADiscardedLostPageGoesOnAtOnce) {
  vm_.SwapOut(3);
  vm_.FlipStoredByte(3);
  thread_.Start();
  const auto held = vm_.memory.StartRead({3});
  ASSERT_TRUE(WaitUntil([&] { return stats().lost_pages == 1; }));
  const int64_t start_ns = MonotonicNs();
  vm_.memory.Discard({{3}, 1});
  ASSERT_TRUE(Served(held));
  EXPECT_LT(MonotonicNs() - start_ns, kNsPerS / 2);
}

// ---- Pacing -------------------------------------------------------------------------------------

TEST_F(FaultThreadTest, SwapInOfAVmAtItsLimitIsPacedForTenMillisecondsOnce) {
  vm_.SwapOut(3);
  FillUpToTheLimit();
  thread_.Start();
  const int64_t start_ns = MonotonicNs();
  ASSERT_TRUE(Served(vm_.memory.StartRead({3})));
  EXPECT_GE(MonotonicNs() - start_ns, 10 * kNsPerMs);
  EXPECT_EQ(stats().paced_faults, 1u);
  EXPECT_GE(stats().paced_ns, static_cast<uint64_t>(10 * kNsPerMs));
}

TEST_F(FaultThreadTest, FirstTouchOfAVmAtItsLimitIsPacedAndFillsNoNeighbours) {
  FillUpToTheLimit();
  thread_.Start();
  ASSERT_TRUE(Served(vm_.memory.StartRead({100})));
  EXPECT_EQ(stats().paced_faults, 1u);
  EXPECT_TRUE(WaitUntil([&] { return stats().zero_faults == 1; }));
  EXPECT_TRUE(vm_.memory.Look({101}).hole);
}

TEST_F(FaultThreadTest, WriteToAPageThatIsThereIsNotPaced) {
  vm_.Store(3);
  FillUpToTheLimit();
  thread_.Start();
  ASSERT_TRUE(Served(vm_.memory.StartWrite({3}, std::byte{1})));
  EXPECT_EQ(stats().paced_faults, 0u);
}

TEST_F(FaultThreadTest, VmWithAReserveIsNotPaced) {
  vm_.SwapOut(3);
  FillUpToTheLimit();
  residency_.SetReady(10);
  thread_.Start();
  ASSERT_TRUE(Served(vm_.memory.StartRead({3})));
  EXPECT_EQ(stats().paced_faults, 0u);
}

TEST_F(FaultThreadTest, DelayForOtherReasonsDoesNotPaceAFaultAgain) {
  vm_.SwapOut(3);
  FillUpToTheLimit();
  vm_.memory.FailNext(GuestOp::kFill, OsResult::kNoMemory, 5);
  thread_.Start();
  ASSERT_TRUE(Served(vm_.memory.StartRead({3})));
  EXPECT_EQ(stats().paced_faults, 1u);
}

// ---- Stopping -----------------------------------------------------------------------------------

TEST_F(FaultThreadTest, StopsWhileFaultsWait) {
  vm_.SwapOut(3);
  vm_.FlipStoredByte(3);
  thread_.Start();
  vm_.memory.StartRead({3});
  ASSERT_TRUE(WaitUntil([&] { return stats().lost_pages == 1; }));
  const int64_t start_ns = MonotonicNs();
  thread_.Stop();
  EXPECT_LT(MonotonicNs() - start_ns, kTestDeadlineNs);
}

TEST_F(FaultThreadTest, StopsThoughItNeverStarted) { thread_.Stop(); }

TEST_F(FaultThreadTest, QemuThatIsGoneLeavesItWaitingQuietly) {
  vm_.SwapOut(3);
  vm_.memory.StartRead({3});
  vm_.memory.SetGone();
  thread_.Start();
  EXPECT_TRUE(WaitUntil([&] { return stats().faults == 1; }));
}

}  // namespace
}  // namespace ebb
