// SPDX-License-Identifier: MIT
#include "hostd/vm/mover.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <string>
#include <thread>
#include <vector>

#include "tests/hostd/vm/vm_fixture.h"

namespace ebb {
namespace {

using State = Mover::BringBackState;

class MoverTest : public testing::Test {
 protected:
  static constexpr uint64_t kPages = 1000;

  ~MoverTest() override {
    mover_.Stop();
    for (const std::string& violation : vm_.memory.Violations()) ADD_FAILURE() << violation;
  }

  void SwapOutFirst(uint64_t count) {
    for (uint64_t page = 0; page < count; ++page) vm_.SwapOut(page);
  }
  bool WaitForIdle() {
    return WaitUntil([this] { return mover_.Idle(); });
  }
  State WaitForBringBack() {
    EXPECT_TRUE(WaitUntil([this] { return mover_.bring_back_state() != State::kRunning; }));
    return mover_.bring_back_state();
  }
  uint64_t CountIn(PageState state) {
    uint64_t count = 0;
    for (uint64_t page = 0; page < kPages; ++page) count += vm_.StateOf(page) == state ? 1u : 0u;
    return count;
  }

  VmPages vm_{kPages};
  Residency residency_;
  Mover mover_{"test", &vm_.memory, vm_.state, &residency_};
};

// ---- What reclaim hands over --------------------------------------------------------------------

TEST_F(MoverTest, StoredPagesAreDroppedAndOthersGivenBack) {
  std::vector<StoredPage> drop;
  for (uint64_t page = 0; page < 64; ++page) drop.push_back(vm_.Store(page));
  const StoredPage touched = vm_.Store(100);
  residency_.Refresh(1000);
  mover_.Start();
  mover_.Submit(drop, {touched.claim});
  ASSERT_TRUE(WaitForIdle());
  EXPECT_EQ(CountIn(PageState::kSwapped), 64u);
  EXPECT_EQ(vm_.StateOf(100), PageState::kResident);
  EXPECT_FALSE(vm_.memory.Look({100}).write_protected);
  EXPECT_EQ(residency_.resident(), 1000u - 64);
}

TEST_F(MoverTest, NoMoreThanSixteenPagesAreInDroppingAtOnce) {
  std::vector<StoredPage> drop;
  for (uint64_t page = 0; page < 64; ++page) drop.push_back(vm_.Store(page));
  std::atomic<uint64_t> most{0};
  for (int i = 0; i < 64; ++i) {
    vm_.memory.BeforeNext(GuestOp::kPunch,
                          [&] { most = std::max<uint64_t>(most, CountIn(PageState::kDropping)); });
  }
  mover_.Start();
  mover_.Submit(drop, {});
  ASSERT_TRUE(WaitForIdle());
  EXPECT_GT(most, 0u);
  EXPECT_LE(most, 16u);
}

TEST_F(MoverTest, IsNotIdleWhileABatchIsUnderWay) {
  std::promise<void> go_on;
  std::shared_future<void> future = go_on.get_future().share();
  std::promise<void> reached;
  vm_.memory.BeforeNext(GuestOp::kPunch, [&, future] {
    reached.set_value();
    future.wait_for(std::chrono::seconds(20));
  });
  mover_.Start();
  mover_.Submit({vm_.Store(1)}, {});
  reached.get_future().wait();
  EXPECT_FALSE(mover_.Idle());
  go_on.set_value();
  EXPECT_TRUE(WaitForIdle());
}

TEST_F(MoverTest, CopiesDoNotPileUpBeforeAMoverThatIsBusy) {
  std::promise<void> go_on;
  std::shared_future<void> future = go_on.get_future().share();
  vm_.memory.BeforeNext(GuestOp::kPunch, [future] { future.wait_for(std::chrono::seconds(20)); });
  std::vector<StoredPage> stored;
  for (uint64_t page = 0; page < 20; ++page) stored.push_back(vm_.Store(page));
  mover_.Start();
  std::atomic<int> submitted{0};
  std::jthread reclaim([&] {
    for (const StoredPage& page : stored) {
      mover_.Submit({page}, {});
      ++submitted;
    }
  });
  ASSERT_TRUE(WaitUntil([&] { return submitted >= 8; }));
  EXPECT_LE(submitted, 9) << "one under way and eight waiting";
  go_on.set_value();
  reclaim.join();
  EXPECT_TRUE(WaitForIdle());
  EXPECT_EQ(CountIn(PageState::kSwapped), 20u);
}

TEST_F(MoverTest, StopLetsAWaitingSubmitGo) {
  std::vector<StoredPage> stored;
  for (uint64_t page = 0; page < 20; ++page) stored.push_back(vm_.Store(page));
  std::atomic<int> submitted{0};
  std::jthread reclaim([&] {  // the mover never starts
    for (const StoredPage& page : stored) {
      mover_.Submit({page}, {});
      ++submitted;
    }
  });
  ASSERT_TRUE(WaitUntil([&] { return submitted >= 8; }));
  mover_.Stop();
  EXPECT_TRUE(WaitUntil([&] { return submitted == 20; }));
}

// ---- Bringing back ------------------------------------------------------------------------------

TEST_F(MoverTest, EverythingComesBackWithItsContent) {
  SwapOutFirst(700);
  mover_.Start();
  EXPECT_EQ(mover_.bring_back_state(), State::kNone);
  mover_.BringBack(UINT64_MAX);
  EXPECT_EQ(WaitForBringBack(), State::kDone);
  for (uint64_t page = 0; page < 700; ++page) {
    ASSERT_EQ(vm_.StateOf(page), PageState::kResident);
    ASSERT_TRUE(vm_.memory.Content({page}) == VmPages::ContentOf(page)) << page;
  }
  EXPECT_EQ(residency_.resident(), 700u);
}

TEST_F(MoverTest, BringBackStopsAtTheLimit) {
  SwapOutFirst(700);
  residency_.Refresh(50);
  mover_.Start();
  mover_.BringBack(250);
  EXPECT_EQ(WaitForBringBack(), State::kAtLimit);
  EXPECT_EQ(CountIn(PageState::kSwapped), 500u);
}

TEST_F(MoverTest, NothingToBringBackIsDone) {
  mover_.Start();
  mover_.BringBack(UINT64_MAX);
  EXPECT_EQ(WaitForBringBack(), State::kDone);
}

TEST_F(MoverTest, BringBackGoesOnAfterTheMemoryMapHasChanged) {
  SwapOutFirst(10);
  vm_.memory.FailNext(GuestOp::kFill, OsResult::kRetry, 5);
  mover_.Start();
  mover_.BringBack(UINT64_MAX);
  EXPECT_EQ(WaitForBringBack(), State::kDone);
  EXPECT_EQ(CountIn(PageState::kSwapped), 0u);
}

TEST_F(MoverTest, BringBackEndsWhenTheHostIsFull) {
  SwapOutFirst(10);
  vm_.memory.FailNext(GuestOp::kFill, OsResult::kNoMemory);
  mover_.Start();
  mover_.BringBack(UINT64_MAX);
  EXPECT_EQ(WaitForBringBack(), State::kNoMemory);
  EXPECT_EQ(CountIn(PageState::kSwapped), 10u) << "the page is as it was";
}

TEST_F(MoverTest, PageThatCannotBeProducedDoesNotKeepTheOthersAway) {
  SwapOutFirst(10);
  vm_.FlipStoredByte(4);
  mover_.Start();
  mover_.BringBack(UINT64_MAX);
  EXPECT_EQ(WaitForBringBack(), State::kFailed);
  EXPECT_EQ(vm_.StateOf(4), PageState::kLost);
  EXPECT_EQ(CountIn(PageState::kSwapped), 0u);
  vm_.FlipStoredByte(4);
  mover_.BringBack(UINT64_MAX);
  EXPECT_EQ(WaitForBringBack(), State::kDone) << "lost pages are tried again";
}

TEST_F(MoverTest, PageOfRamThatQemuHasUnmappedIsGivenUp) {
  SwapOutFirst(3);
  vm_.memory.FailNext(GuestOp::kFill, OsResult::kNotMapped);
  mover_.Start();
  mover_.BringBack(UINT64_MAX);
  EXPECT_EQ(WaitForBringBack(), State::kDone);
  EXPECT_EQ(CountIn(PageState::kSwapped), 0u);
  EXPECT_TRUE(vm_.memory.Look({0}).hole);
}

TEST_F(MoverTest, CancelledBringBackStaysCancelled) {
  SwapOutFirst(700);
  vm_.memory.BeforeNext(GuestOp::kFill, [this] { mover_.CancelBringBack(); });
  mover_.Start();
  mover_.BringBack(UINT64_MAX);
  EXPECT_EQ(WaitForBringBack(), State::kNone);
  mover_.Submit({vm_.Store(900)}, {});
  ASSERT_TRUE(WaitForIdle());
  EXPECT_EQ(mover_.bring_back_state(), State::kNone);
  EXPECT_GT(CountIn(PageState::kSwapped), 1u);
}

// What was swapped out behind the first request's place belongs to the second, too.
TEST_F(MoverTest, SecondRequestStartsFromTheBeginningThoughItAsksForTheSame) {
  vm_.SwapOut(1);
  vm_.SwapOut(500);
  vm_.memory.BeforeNext(GuestOp::kFill, [] {});
  vm_.memory.BeforeNext(GuestOp::kFill, [this] {  // of page 500
    vm_.SwapOut(2);
    mover_.BringBack(UINT64_MAX);
  });
  mover_.Start();
  mover_.BringBack(UINT64_MAX);
  EXPECT_EQ(WaitForBringBack(), State::kDone);
  EXPECT_EQ(vm_.StateOf(2), PageState::kResident);
}

TEST_F(MoverTest, SwapInAndADropOfTheSamePageDoNotMix) {
  SwapOutFirst(20);
  std::vector<StoredPage> drop;
  for (uint64_t page = 20; page < 40; ++page) drop.push_back(vm_.Store(page));
  mover_.Start();
  mover_.BringBack(UINT64_MAX);
  mover_.Submit(drop, {});
  ASSERT_TRUE(WaitForIdle());
  mover_.BringBack(UINT64_MAX);
  EXPECT_EQ(WaitForBringBack(), State::kDone);
  for (uint64_t page = 0; page < 40; ++page) {
    EXPECT_TRUE(vm_.memory.Content({page}) == VmPages::ContentOf(page)) << page;
  }
}

}  // namespace
}  // namespace ebb
