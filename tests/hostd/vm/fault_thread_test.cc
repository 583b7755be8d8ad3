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
  const SwapStats& stats() { return vm_.state->stats(); }

  VmPages vm_{kPages};
  Residency residency_;
  ReclaimAlarm alarm_;
  FaultThread thread_{"test", {&vm_.memory, vm_.state, &residency_, &alarm_}};
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
