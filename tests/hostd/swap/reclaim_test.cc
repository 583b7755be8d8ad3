// SPDX-License-Identifier: MIT
#include "hostd/swap/reclaim.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/hostd/swap/reclaim_fixture.h"

namespace ebb {
namespace {

TEST_F(ReclaimTest, VmWithoutALimitIsNotTouched) {
  PopulateAll();
  RunToTheEnd();
  EXPECT_EQ(CountIn(PageState::kResident), kPages);
  for (const GuestOp op : {GuestOp::kRegister, GuestOp::kZapPtes, GuestOp::kWriteProtect}) {
    EXPECT_TRUE(memory_.Calls(op).empty()) << GuestOpName(op);
  }
  EXPECT_EQ(barrier_.requests(), 0u);
}

TEST_F(ReclaimTest, VmFarBelowItsLimitIsNotTouched) {
  for (uint64_t page = 0; page < 1000; ++page) memory_.Populate({page}, ContentOf(page));
  residency_.SetLimit(kPages);
  RunToTheEnd();
  EXPECT_TRUE(memory_.Calls(GuestOp::kZapPtes).empty());
  EXPECT_TRUE(memory_.Calls(GuestOp::kRegister).empty()) << "first touches still cost nothing";
}

TEST_F(ReclaimTest, ResidencyComesDownToTheTargetAndNothingIsLost) {
  PopulateAll();
  residency_.SetLimit(kPages / 2);
  RunToTheEnd();
  EXPECT_LE(memory_.ResidentPages(), residency_.target());
  EXPECT_GE(memory_.ResidentPages(), residency_.target() - 64) << "no more than was asked for";
  EXPECT_EQ(state_->stats().swapped_pages, kPages - memory_.ResidentPages());
  for (uint64_t page = 0; page < kPages; page += 7) ExpectGuestReads(page, ContentOf(page));
}

TEST_F(ReclaimTest, OneTimeTargetIsReachedWithoutALimit) {
  PopulateAll();
  RunToTheEnd(/*once_target=*/3000);
  EXPECT_LE(memory_.ResidentPages(), 3000u);
  const uint64_t swapped = state_->stats().swapped_pages;
  RunToTheEnd();
  EXPECT_EQ(state_->stats().swapped_pages, swapped) << "then the VM is left alone";
}

TEST_F(ReclaimTest, RefaultedPagesAreReplacedByOthers) {
  PopulateAll();
  residency_.SetLimit(kPages / 2);
  RunToTheEnd();
  for (uint64_t page = 0; page < 500; ++page) ExpectGuestReads(page, ContentOf(page));
  RunToTheEnd();
  EXPECT_LE(memory_.ResidentPages(), residency_.target());
}

// ---- No memory in the cgroup or on the host -----------------------------------------------------

TEST_F(ReclaimTest, VmThatFindsNoMemoryDropsItsWholeReserveAtOnce) {
  PopulateAll();
  residency_.SetLimit(kPages + 1000);  // and so far below its target that nothing is dropped
  RunToTheEnd();
  const uint64_t ready = reclaim_->status().ready;
  ASSERT_GT(ready, 512u) << "more than a pass takes";
  ASSERT_EQ(state_->stats().swapped_pages, 0u);
  residency_.NoteNoMemory();
  for (int pass = 0; Pass(/*ns=*/0) == 0; ++pass) ASSERT_LT(pass, 100) << "without end";
  EXPECT_EQ(reclaim_->status().ready, 0u);
  EXPECT_EQ(state_->stats().swapped_pages, ready);
  EXPECT_EQ(memory_.ResidentPages(), kPages - ready);
}

TEST_F(ReclaimTest, VmWithoutALimitMakesRoomAsLongAsItFindsNoMemory) {
  PopulateAll();
  for (int pass = 0; pass < 20 && state_->stats().swapped_pages == 0; ++pass) {
    residency_.NoteNoMemory();
    barrier_.CompleteNow();
    Pass();
  }
  EXPECT_GT(state_->stats().swapped_pages, 0u);
  RunToTheEnd();
  const uint64_t swapped = state_->stats().swapped_pages;
  RunToTheEnd();
  EXPECT_EQ(state_->stats().swapped_pages, swapped) << "then the VM is left alone";
  for (uint64_t page = 0; page < kPages; page += 7) ExpectGuestReads(page, ContentOf(page));
}

// ---- Cooling: the second chance -----------------------------------------------------------------

TEST_F(ReclaimTest, PagesAreRegisteredBeforeTheyCool) {
  PopulateAll();
  residency_.SetLimit(kPages / 2);
  memory_.BeforeNext(GuestOp::kZapPtes, [&] {
    for (uint64_t page = 0; page < kPages; ++page) ASSERT_TRUE(memory_.Look({page}).registered);
  });
  Pass();
  EXPECT_GT(CountIn(PageState::kCooling), 0u);
  EXPECT_FALSE(memory_.Look({0}).mapped);
}

TEST_F(ReclaimTest, CoolingPageCostsItsGuestNoMessage) {
  PopulateAll();
  residency_.SetLimit(kPages / 2);
  Pass();
  ASSERT_EQ(StateOf(0), PageState::kCooling);
  EXPECT_FALSE(memory_.Blocked(memory_.StartWrite({0}, std::byte{1})));
}

TEST_F(ReclaimTest, PagesTouchedWhileTheyCoolSurvive) {
  PopulateAll();
  residency_.SetLimit(kPages - 300);
  barrier_.SetIntervalNs(kNsPerS);
  // The guest works on the lower half all the time.
  for (int pass = 0; pass < 60; ++pass) {
    barrier_.CompleteNow();
    Pass(kNsPerS / 2);
    for (uint64_t page = 0; page < kPages / 2; ++page) {
      ASSERT_TRUE(memory_.TryRead({page})) << "page " << page << " was taken, pass " << pass;
    }
  }
  EXPECT_GT(state_->stats().swapped_pages, 0u);
}

TEST_F(ReclaimTest, PagesCoolForAWhileBeforeTheyAreGuarded) {
  PopulateAll();
  residency_.SetLimit(kPages / 2);
  Pass();
  const uint64_t cooling = CountIn(PageState::kCooling);
  ASSERT_GT(cooling, 0u);
  Pass(100 * kNsPerMs);
  EXPECT_EQ(CountIn(PageState::kGuarded), 0u);
  Pass(kNsPerS);
  EXPECT_GT(CountIn(PageState::kGuarded), 0u);
}

TEST_F(ReclaimTest, HolesAreSkipped) {
  for (uint64_t page = 0; page < kPages; page += 2) memory_.Populate({page}, ContentOf(page));
  RunToTheEnd(/*once_target=*/100);
  EXPECT_LE(memory_.ResidentPages(), 100u);
  for (uint64_t page = 1; page < kPages; page += 2) {
    ASSERT_EQ(StateOf(page), PageState::kResident) << "a hole became a record";
  }
}

TEST_F(ReclaimTest, PageWhosePteCannotBeZappedIsNotTaken) {
  PopulateAll();
  memory_.KeepMapped({10});
  RunToTheEnd(/*once_target=*/100);
  EXPECT_NE(StateOf(10), PageState::kSwapped);
  EXPECT_EQ(StateOf(11), PageState::kSwapped);
}

TEST_F(ReclaimTest, PartThatCannotBeRegisteredIsNotCooled) {
  PopulateAll();
  memory_.FailNext(GuestOp::kRegister, OsResult::kNotMapped, 1000);
  residency_.SetLimit(kPages / 2);
  Pass();
  EXPECT_TRUE(memory_.Calls(GuestOp::kZapPtes).empty());
  EXPECT_EQ(CountIn(PageState::kResident), kPages);
}

// ---- Guarded: the barrier -----------------------------------------------------------------------

TEST_F(ReclaimTest, NothingIsSwappedOutWithoutABarrier) {
  PopulateAll();
  residency_.SetLimit(kPages / 2);
  for (int pass = 0; pass < 100; ++pass) Pass();
  EXPECT_GT(CountIn(PageState::kGuarded), 0u);
  EXPECT_EQ(state_->stats().swapped_out, 0u);
  EXPECT_TRUE(memory_.Calls(GuestOp::kPunch).empty());
  EXPECT_GT(barrier_.requests(), 0u);
}

TEST_F(ReclaimTest, BarrierThatStartedBeforeTheProtectionDoesNotCount) {
  PopulateAll();
  residency_.SetLimit(kPages / 2);
  Pass();
  const int64_t before_protection_ns = MonotonicNs();
  GuardEverything();
  ASSERT_GT(CountIn(PageState::kGuarded), 0u);
  barrier_.Complete(before_protection_ns);
  for (int pass = 0; pass < 10; ++pass) Pass();
  EXPECT_EQ(state_->stats().swapped_out, 0u);
  barrier_.CompleteNow();
  Pass();
  EXPECT_GT(state_->stats().swapped_out, 0u);
}

// The moment that counts is when the protection is in place, not when it was begun.
TEST_F(ReclaimTest, BarrierThatStartedDuringTheProtectionDoesNotCount) {
  PopulateAll();
  residency_.SetLimit(kPages / 2);
  std::map<uint64_t, int64_t> protected_ns;
  // After each protection, note the time: a barrier is good for a page only if it is later.
  for (int i = 0; i < 1000; ++i) {
    memory_.AfterNext(GuestOp::kWriteProtect, [&] {
      const PageRange run = memory_.Calls(GuestOp::kWriteProtect).back().range;
      for (uint64_t page = 0; page < run.count; ++page) {
        protected_ns[run.first.value + page] = MonotonicNs();
      }
    });
  }
  int64_t barrier_ns = 0;
  for (int pass = 0; pass < 60; ++pass) {
    // Starts in the middle of the next cohort's protection.
    memory_.BeforeNext(GuestOp::kWriteProtect, [&] { barrier_ns = MonotonicNs(); });
    Pass();
    for (const auto& call : memory_.Calls(GuestOp::kPunch)) {
      for (uint64_t page = 0; page < call.range.count; ++page) {
        ASSERT_LT(protected_ns[call.range.first.value + page], barrier_.SafeBeforeNs(now_ns_));
      }
    }
    memory_.ForgetCalls();
    if (barrier_ns != 0) barrier_.Complete(barrier_ns);
  }
  EXPECT_GT(state_->stats().swapped_out, 0u);
}

TEST_F(ReclaimTest, DeviceThatWasWritingWhenThePageWasProtectedLosesNothing) {
  PopulateAll();
  const auto request = memory_.StartPin({20});
  ASSERT_FALSE(memory_.Blocked(request));
  residency_.SetLimit(kPages / 2);
  GuardEverything();
  ASSERT_EQ(StateOf(20), PageState::kGuarded);
  // QEMU's drain waits for the request: it is over when the barrier is.
  memory_.FinishPin(request, std::byte{0x77});
  RunToTheEnd(/*once_target=*/100);
  ASSERT_EQ(StateOf(20), PageState::kSwapped);
  ExpectGuestReads(20, FilledWith(std::byte{0x77}));
}

TEST_F(ReclaimTest, BarrierIsUrgentWhenTheReserveIsEmpty) {
  PopulateAll();
  residency_.SetLimit(kPages / 2);
  GuardEverything();
  EXPECT_TRUE(barrier_.last_was_urgent());
}

TEST_F(ReclaimTest, PageWrittenWhileItIsGuardedSurvives) {
  PopulateAll();
  residency_.SetLimit(kPages / 2);
  GuardEverything();
  ASSERT_EQ(StateOf(30), PageState::kGuarded);
  const auto writer = memory_.StartWrite({30}, std::byte{9});
  ASSERT_TRUE(memory_.Blocked(writer));
  ServeFaults();
  EXPECT_FALSE(memory_.Blocked(writer));
  barrier_.CompleteNow();
  for (int pass = 0; pass < 20; ++pass) Pass(0);
  EXPECT_FALSE(memory_.Look({30}).hole);
  EXPECT_EQ(StateOf(31), PageState::kSwapped);
}

TEST_F(ReclaimTest, PageReadWhileItIsReadySurvives) {
  PopulateAll();
  residency_.SetLimit(kPages / 2);
  GuardEverything();
  memory_.StartRead({30});
  barrier_.CompleteNow();
  for (int pass = 0; pass < 20; ++pass) Pass(0);
  EXPECT_FALSE(memory_.Look({30}).hole);
  EXPECT_FALSE(memory_.Look({30}).write_protected);
  EXPECT_EQ(StateOf(31), PageState::kSwapped);
}

TEST_F(ReclaimTest, CohortThatCannotBeProtectedGoesBack) {
  PopulateAll();
  residency_.SetLimit(kPages / 2);
  Pass();
  memory_.FailNext(GuestOp::kWriteProtect, OsResult::kRetry, 1000);
  Pass();
  EXPECT_EQ(CountIn(PageState::kGuarded), 0u);
  EXPECT_EQ(reclaim_->status().guarded, 0u);
}

TEST_F(ReclaimTest, CohortWhosePagemapCannotBeReadGoesBack) {
  PopulateAll();
  residency_.SetLimit(kPages / 2);
  Pass();
  memory_.FailNext(GuestOp::kReadPtes, OsResult::kFailed, 1000);
  Pass();
  EXPECT_EQ(CountIn(PageState::kGuarded), 0u);
}

// ---- The ready reserve --------------------------------------------------------------------------

TEST_F(ReclaimTest, ReserveIsKeptReadyWithoutSwappingItOut) {
  PopulateAll();
  residency_.SetLimit(kPages + 1000);  // under its limit, but near it
  RunToTheEnd();
  EXPECT_EQ(state_->stats().swapped_out, 0u);
  EXPECT_GE(reclaim_->status().ready, reclaim_->status().reserve_target / 2);
  EXPECT_EQ(residency_.ready(), reclaim_->status().ready);
}

TEST_F(ReclaimTest, FirstTouchesOfAVmNearItsLimitAreSeen) {
  for (uint64_t page = 0; page < 6000; ++page) memory_.Populate({page}, ContentOf(page));
  residency_.SetLimit(6500);
  Pass();
  EXPECT_TRUE(memory_.Look({kPages - 1}).registered);
}

TEST_F(ReclaimTest, OnePassTakesAFewHundredPagesAndAsksToBeCalledAgainAtOnce) {
  PopulateAll();
  residency_.SetLimit(kPages / 2);
  GuardEverything();
  barrier_.CompleteNow();
  Pass();
  const uint64_t first = state_->stats().swapped_out;
  int64_t wait_ns = Pass(0);
  EXPECT_EQ(wait_ns, 0);
  EXPECT_LE(state_->stats().swapped_out - first, 512u + 64u);
  for (int pass = 0; pass < 100 && wait_ns == 0; ++pass) wait_ns = Pass(0);
  EXPECT_GT(wait_ns, 0) << "then it waits";
  EXPECT_LE(wait_ns, kNsPerS);
}

TEST_F(ReclaimTest, StatusCountsThePagesOfEachQueue) {
  PopulateAll();
  residency_.SetLimit(kPages / 2);
  for (int pass = 0; pass < 12; ++pass) {
    if (pass == 6) barrier_.CompleteNow();
    Pass(300 * kNsPerMs);
    const Reclaim::Status status = reclaim_->status();
    EXPECT_EQ(status.cooling, CountIn(PageState::kCooling));
    EXPECT_EQ(status.guarded + status.ready, CountIn(PageState::kGuarded));
  }
}

// ---- Letting go ---------------------------------------------------------------------------------

TEST_F(ReclaimTest, GiveUpLeavesNothingClaimedOrProtected) {
  PopulateAll();
  residency_.SetLimit(kPages / 2);
  GuardEverything();
  barrier_.CompleteNow();
  Pass(0);
  Pass(kNsPerS);
  ASSERT_GT(reclaim_->status().cooling + reclaim_->status().guarded + reclaim_->status().ready, 0u);
  reclaim_->GiveUp();
  for (uint64_t page = 0; page < kPages; ++page) {
    const PageState state = StateOf(page);
    ASSERT_TRUE(state == PageState::kResident || state == PageState::kSwapped);
    ASSERT_EQ(memory_.Look({page}).write_protected, state == PageState::kSwapped) << page;
  }
  const Reclaim::Status status = reclaim_->status();
  EXPECT_EQ(status.cooling + status.guarded + status.ready, 0u);
  EXPECT_EQ(residency_.ready(), 0u);
}

TEST_F(ReclaimTest, RecordsOfPagesThatCameBackAreReusedInTheNextPass) {
  PopulateAll();
  RunToTheEnd(/*once_target=*/100);
  const uint64_t stored = state_->pool().stats().objects;
  ASSERT_GT(stored, 0u);
  for (uint64_t page = 0; page < kPages; page += 100) ExpectGuestReads(page, ContentOf(page));
  Pass();
  EXPECT_LT(state_->pool().stats().objects, stored);
}

// A guest that writes, discards and reads at random while reclaim runs: nothing is ever wrong.
TEST_F(ReclaimTest, BusyGuestNeverReadsAnythingButWhatItWrote) {
  constexpr unsigned kSeed = 5;
  SCOPED_TRACE(testing::Message() << "seed " << kSeed);
  std::mt19937 random(kSeed);
  PopulateAll();
  residency_.SetLimit(kPages / 2);
  std::map<uint64_t, std::byte> written;
  for (int step = 0; step < 4000; ++step) {
    const uint64_t page = random() % kPages;
    if (step % 20 == 0) {
      if (step % 60 == 0) barrier_.CompleteNow();
      Pass(300 * kNsPerMs);
    } else if (random() % 2 == 0) {
      written[page] = static_cast<std::byte>(random());
      const auto thread = memory_.StartWrite({page}, written[page]);
      ServeFaults();
      ASSERT_FALSE(memory_.Blocked(thread));
    } else {
      PageContent expected = ContentOf(page);
      if (written.count(page) != 0) expected.front() = written[page];
      ASSERT_NO_FATAL_FAILURE(ExpectGuestReads(page, expected)) << "step " << step;
    }
  }
  EXPECT_GT(state_->stats().swapped_in, 0u);
}

}  // namespace
}  // namespace ebb
