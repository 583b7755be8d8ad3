// SPDX-License-Identifier: MIT
// The checks find what they are for: each test does the wrong thing and sees the program end.
#include "hostd/base/wait_checks.h"

#include <gtest/gtest.h>

#include <csignal>
#include <thread>

#include "hostd/base/check.h"
#include "hostd/base/log.h"
#include "hostd/base/mutex.h"
#include "tests/hostd/base/on_fault_path.h"

namespace ebb {
namespace {

// gtest allocates when it starts a death test, so the wrong state begins inside of it.
template <typename Action>
void Owning(Action action) {
  NoteOwned("Dropping");
  action();
}

TEST(WaitChecks, ThreadThatOwnsNothingMayWaitAndLock) {
  MayWait("for nothing");
  Mutex mutex{"wait_checks_test"};
  MutexLock lock(mutex);
}

TEST(WaitChecks, ThreadThatHasLeftItsPagesMayWait) {
  NoteOwned("Fixing");
  NoteOwned("Fixing");
  NoteLeft();
  NoteLeft();
  MayWait("for nothing");
}

TEST(WaitChecks, FaultPathEndsWithItsScope) {
  OnFaultPath([] {});
  MayWait("for nothing");
}

// Ownership is a thread's own.
TEST(WaitChecks, OtherThreadsMayWaitMeanwhile) {
  std::atomic<bool> owned{false};
  std::atomic<bool> over{false};
  std::jthread owner([&] {
    NoteOwned("Dropping");
    owned = true;
    while (!over) std::this_thread::yield();
    NoteLeft();
  });
  while (!owned) std::this_thread::yield();
  MayWait("for nothing");
  over = true;
}

TEST(WaitChecks, AnotherThreadsWorkOwnsNothingAndGivesBackWhatThereWas) {
  NoteOwned("SwappingIn");
  {
    const AnotherThreadsWork other;
    MayWait("for nothing");
    Mutex mutex{"wait_checks_test"};
    MutexLock lock(mutex);
    NoteLeft();  // of a page that somebody else took
  }
  EXPECT_TRUE(CheckedThread::Current().MustNotWait());
  NoteLeft();
  EXPECT_FALSE(CheckedThread::Current().MustNotWait());
}

TEST(WaitChecksDeathTest, WaitingWhileOwningIsTheEnd) {
  EXPECT_DEATH(Owning([] { MayWait("for a barrier"); }),
               "WAIT CHECK failed: thread .* waits for a barrier while it owns 1 pages, the last "
               "in Dropping");
}

TEST(WaitChecksDeathTest, EndsBySigabrt) {
  EXPECT_EXIT(Owning([] { MayWait("for a barrier"); }), testing::KilledBySignal(SIGABRT), "");
}

TEST(WaitChecksDeathTest, WaitingOnTheFaultPathIsTheEnd) {
  EXPECT_DEATH(OnFaultPath([] { MayWait("for QMP"); }), "waits for QMP on the fault path");
}

TEST(WaitChecksDeathTest, LoggingIsAWait) {
  EXPECT_DEATH(OnFaultPath([] { LogLine(LogLevel::kInfo, "lost"); }),
               "waits for whoever reads stderr on the fault path");
}

TEST(WaitChecksDeathTest, AnotherThreadsWorkIsCheckedLikeAnyThread) {
  EXPECT_DEATH(
      {
        const AnotherThreadsWork other;
        Owning([] { MayWait("for a barrier"); });
      },
      "waits for a barrier while it owns 1 pages");
}

TEST(WaitChecksDeathTest, WaitingUnderALockIsTheEnd) {
  EXPECT_DEATH(
      {
        Mutex mutex{"the small data"};
        MutexLock lock(mutex);
        MayWait("for the disk");
      },
      "waits for the disk while it holds the small data");
}

TEST(WaitChecksDeathTest, LeavingAPageOfAnotherThreadIsTheEnd) {
  EXPECT_DEATH(NoteLeft(), "leaves a page that another thread owns");
}

// What ends the daemon may say why, wherever that is.
TEST(WaitChecksDeathTest, FailedCheckStillSaysItsReason) {
  EXPECT_DEATH(OnFaultPath([] { EBB_CHECK(false, "wrong bytes"); }),
               "CHECK failed at .*wrong bytes");
}

}  // namespace
}  // namespace ebb
