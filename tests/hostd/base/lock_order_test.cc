// SPDX-License-Identifier: MIT
#include "hostd/base/lock_order.h"

#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "hostd/base/mutex.h"
#include "hostd/base/wait_checks.h"

namespace ebb {
namespace {

void TakeBoth(Mutex& first, Mutex& second) {
  MutexLock outer(first);
  MutexLock inner(second);
}

TEST(LockOrder, OneOrderIsFine) {
  Mutex a{"a"};
  Mutex b{"b"};
  Mutex c{"c"};
  TakeBoth(a, b);
  TakeBoth(b, c);
  TakeBoth(a, c);
  TakeBoth(a, b);
}

TEST(LockOrder, LocksWithoutANameHaveNoOrder) {
  Mutex a;
  Mutex b;
  TakeBoth(a, b);
  TakeBoth(b, a);
}

TEST(LockOrder, AnyOrderOfUnlocking) {
  Mutex a{"a"};
  Mutex b{"b"};
  a.Lock();
  b.Lock();
  a.Unlock();
  b.Unlock();
  MayWait("for nothing");
}

TEST(LockOrder, WaitingOnAConditionLetsGoOfItsOwnLock) {
  Mutex mutex{"a"};
  CondVar changed;
  MutexLock lock(mutex);
  changed.WaitFor(mutex, std::chrono::milliseconds(1));
}

// Nobody deadlocks here, but two threads could.
TEST(LockOrderDeathTest, TwoOrdersAreTheEnd) {
  EXPECT_DEATH(
      {
        Mutex a{"first"};
        Mutex b{"second"};
        TakeBoth(a, b);
        TakeBoth(b, a);
      },
      "takes, against the order of locks, first while it holds second");
}

TEST(LockOrderDeathTest, CycleOfThreeIsTheEnd) {
  EXPECT_DEATH(
      {
        Mutex a{"first"};
        Mutex b{"second"};
        Mutex c{"third"};
        TakeBoth(a, b);
        TakeBoth(b, c);
        TakeBoth(c, a);
      },
      "takes, against the order of locks, first while it holds third");
}

TEST(LockOrderDeathTest, OrdersOfTwoThreadsCountTogether) {
  EXPECT_DEATH(
      {
        Mutex a{"first"};
        Mutex b{"second"};
        std::jthread([&] { TakeBoth(a, b); }).join();
        TakeBoth(b, a);
      },
      "takes, against the order of locks, first while it holds second");
}

// Of two VMs, say.
TEST(LockOrderDeathTest, TwoOfOneNameTogetherAreTheEnd) {
  EXPECT_DEATH(
      {
        Mutex a{"same"};
        Mutex b{"same"};
        TakeBoth(a, b);
      },
      "takes, against the order of locks, same while it holds same");
}

TEST(LockOrderDeathTest, TakingWhatIsHeldIsTheEnd) {
  EXPECT_DEATH(
      {
        Mutex a;
        TakeBoth(a, a);
      },
      "takes again a lock without a name");
}

TEST(LockOrderDeathTest, LockingAsAnOwnerIsTheEnd) {
  EXPECT_DEATH(
      {
        Mutex mutex{"small data"};
        NoteOwned("SwappingIn");
        MutexLock lock(mutex);
      },
      "takes small data while it owns 1 pages, the last in SwappingIn");
}

TEST(LockOrderDeathTest, LockingOnTheFaultPathIsTheEnd) {
  EXPECT_DEATH(
      {
        Mutex mutex{"small data"};
        const FaultPath fault_path;
        MutexLock lock(mutex);
      },
      "takes small data on the fault path");
}

TEST(LockOrderDeathTest, WaitingOnAConditionWithAnotherLockIsTheEnd) {
  EXPECT_DEATH(
      {
        Mutex outer{"outer"};
        Mutex inner{"inner"};
        CondVar changed;
        MutexLock outer_lock(outer);
        MutexLock inner_lock(inner);
        changed.WaitFor(inner, std::chrono::milliseconds(1));
      },
      "waits on a condition under inner while it holds inner");
}

}  // namespace
}  // namespace ebb
