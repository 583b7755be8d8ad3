// SPDX-License-Identifier: MIT
// The wait checks know who owns a page: a wait is put into each operation that an owner, or the
// fault path, does with a page, and the page protocol runs into it.
#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "hostd/base/log.h"
#include "hostd/base/mutex.h"
#include "hostd/base/wait_checks.h"
#include "hostd/swap/drop.h"
#include "hostd/swap/fault_server.h"
#include "hostd/swap/shared_swap_state.h"
#include "hostd/swap/store_pages.h"
#include "hostd/swap/swap_in.h"
#include "tests/fakes/fake_guest_memory.h"
#include "tests/hostd/swap/stored_page.h"

namespace ebb {
namespace {

// Does something before one kind of operation, as the thread that calls it.
class BusyMemory : public FakeGuestMemory {
 public:
  using FakeGuestMemory::FakeGuestMemory;

  OsResult Unprotect(PageIndex page) override {
    Before(GuestOp::kUnprotect);
    return FakeGuestMemory::Unprotect(page);
  }
  OsResult Fill(PageIndex page, const std::byte* content) override {
    Before(GuestOp::kFill);
    return FakeGuestMemory::Fill(page, content);
  }
  OsResult FillZero(PageRange run, uint64_t* filled_pages) override {
    Before(GuestOp::kFillZero);
    return FakeGuestMemory::FillZero(run, filled_pages);
  }
  OsResult Punch(PageRange run) override {
    Before(GuestOp::kPunch);
    return FakeGuestMemory::Punch(run);
  }
  OsResult Wake(PageRange run) override {
    Before(GuestOp::kWake);
    return FakeGuestMemory::Wake(run);
  }

  GuestOp op = GuestOp::kRegister;
  std::function<void()> action;

 private:
  void Before(GuestOp called) {
    if (called == op && action) action();
  }
};

class OwnersDeathTest : public testing::Test {
 protected:
  OwnersDeathTest() {
    memory_.Register({{0}, kPages});
    // Half of them are holes.
    for (uint64_t page = 0; page < kPages / 2; ++page) memory_.Populate({page}, PageContent{});
  }

  void Do(GuestOp op, std::function<void()> action) {
    memory_.op = op;
    memory_.action = std::move(action);
  }
  void Wait(GuestOp op) {
    Do(op, [] { MayWait("for a barrier"); });
  }

  StoredPage Store(uint64_t page) { return StorePage(&memory_, &state_, {page}); }
  void Drop(uint64_t page) {
    const StoredPage stored = Store(page);
    DropPages(&memory_, &state_, {&stored, 1});
  }
  void GiveBack(uint64_t page) {
    const StoredPage stored = Store(page);
    GivePagesBack(&memory_, &state_, {&stored.claim, 1});
  }
  void SwapInNow(uint64_t page) {
    SwapIn(&memory_, &state_).Run({page}, state_.words().Load({page}));
  }
  void Fault(uint64_t page) {
    memory_.StartWrite({page}, std::byte{1});
    server_.ServePending(0);
  }

  static constexpr uint64_t kPages = 16;
  static constexpr uint64_t kHole = kPages - 1;

  BusyMemory memory_{kPages};
  std::unique_ptr<SharedSwapState> shared_ = *SharedSwapState::Create(kPages);
  SwapState& state_ = shared_->state();
  Residency residency_;
  ReclaimAlarm alarm_;
  FaultServer server_{{&memory_, &state_, &residency_, &alarm_}};
};

TEST_F(OwnersDeathTest, WithoutAWaitAllOfItRuns) {
  Drop(1);
  SwapInNow(1);
  GiveBack(2);
  Drop(3);
  Fault(3);
  Fault(kHole);
  for (const uint64_t page : {1u, 2u, 3u}) {
    EXPECT_EQ(state_.words().Load({page}).state(), PageState::kResident) << page;
  }
}

TEST_F(OwnersDeathTest, OwnerOfDroppingWaitsForNothing) {
  Wait(GuestOp::kPunch);
  EXPECT_DEATH(Drop(1), "waits for a barrier while it owns 1 pages, the last in Dropping");
}

TEST_F(OwnersDeathTest, OwnerOfSwappingInWaitsForNothing) {
  Drop(1);
  Wait(GuestOp::kFill);
  EXPECT_DEATH(SwapInNow(1), "waits for a barrier while it owns 1 pages, the last in SwappingIn");
}

TEST_F(OwnersDeathTest, OwnerOfFixingWaitsForNothing) {
  Wait(GuestOp::kUnprotect);
  EXPECT_DEATH(GiveBack(1), "waits for a barrier while it owns 1 pages, the last in Fixing");
}

TEST_F(OwnersDeathTest, OwnerTakesNoLock) {
  Do(GuestOp::kPunch, [] {
    Mutex mutex{"a lock with I/O under it"};
    MutexLock lock(mutex);
  });
  EXPECT_DEATH(Drop(1), "takes a lock with I/O under it while it owns 1 pages");
}

TEST_F(OwnersDeathTest, OwnerAllocatesNothing) {
  Do(GuestOp::kPunch, [] { std::vector<char>(100).swap(*std::make_unique<std::vector<char>>()); });
  EXPECT_DEATH(Drop(1), "calls malloc while it owns 1 pages");
}

// Fixing, and what comes before and after.
TEST_F(OwnersDeathTest, FaultThreadWaitsForNothing) {
  Wait(GuestOp::kFillZero);
  EXPECT_DEATH(Fault(kHole), "waits for a barrier while it owns 1 pages, the last in Fixing");
}

TEST_F(OwnersDeathTest, FaultThreadWaitsForNothingEvenWhenItOwnsNothing) {
  // QEMU has unmapped the page: its threads are woken after the page was left.
  memory_.FailNext(GuestOp::kFillZero, OsResult::kNotMapped);
  Wait(GuestOp::kWake);
  EXPECT_DEATH(Fault(kHole), "waits for a barrier on the fault path");
}

TEST_F(OwnersDeathTest, FaultThreadDoesNotLog) {
  memory_.FailNext(GuestOp::kFillZero, OsResult::kNotMapped);
  Do(GuestOp::kWake, [] { LogLine(LogLevel::kError, "not mapped"); });
  EXPECT_DEATH(Fault(kHole), "waits for whoever reads stderr on the fault path");
}

}  // namespace
}  // namespace ebb
