// SPDX-License-Identifier: MIT
#include "hostd/base/mutex.h"

#include <gtest/gtest.h>

#include <chrono>
#include <thread>
#include <vector>

namespace ebb {
namespace {

using Clock = std::chrono::steady_clock;

// Long enough for a loaded machine; a lost wake-up fails the test instead of hanging it.
constexpr std::chrono::seconds kDeadline{20};

struct Counter {
  Mutex mutex;
  CondVar changed;
  int value ABSL_GUARDED_BY(mutex) = 0;
};

// True once the value is reached, false after the deadline.
bool WaitForValue(Counter& counter, int value) {
  const auto end = Clock::now() + kDeadline;
  MutexLock lock(counter.mutex);
  while (counter.value < value) {
    const auto left = end - Clock::now();
    if (left <= left.zero()) return false;
    counter.changed.WaitFor(counter.mutex, left);
  }
  return true;
}

void Increment(Counter& counter) {
  MutexLock lock(counter.mutex);
  ++counter.value;
  counter.changed.NotifyAll();
}

TEST(Mutex, KeepsOthersOut) {
  constexpr int kThreads = 4;
  constexpr int kRounds = 10'000;
  Counter counter;
  std::vector<std::jthread> threads;
  for (int thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&counter] {
      for (int round = 0; round < kRounds; ++round) {
        MutexLock lock(counter.mutex);
        ++counter.value;
      }
    });
  }
  threads.clear();  // joins
  MutexLock lock(counter.mutex);
  EXPECT_EQ(counter.value, kThreads * kRounds);
}

TEST(Mutex, LockAndUnlockByHand) {
  Counter counter;
  counter.mutex.Lock();
  counter.value = 1;
  counter.mutex.Unlock();
  EXPECT_TRUE(WaitForValue(counter, 1));
}

TEST(CondVar, NotifyWakesAWaiter) {
  Counter counter;
  std::jthread notifier([&counter] { Increment(counter); });
  EXPECT_TRUE(WaitForValue(counter, 1));
}

TEST(CondVar, NotifyAllWakesEveryWaiter) {
  constexpr int kWaiters = 3;
  Counter go;
  Counter woken;
  std::vector<std::jthread> waiters;
  for (int waiter = 0; waiter < kWaiters; ++waiter) {
    waiters.emplace_back([&] {
      if (WaitForValue(go, 1)) Increment(woken);
    });
  }
  Increment(go);
  EXPECT_TRUE(WaitForValue(woken, kWaiters));
}

// Wait has no deadline of its own, so the main thread's wait for `done` carries it.
TEST(CondVar, WaitReturnsHoldingTheMutex) {
  Counter go;
  Counter done;
  std::jthread waiter([&] {
    {
      MutexLock lock(go.mutex);
      while (go.value == 0) go.changed.Wait(go.mutex);
      ++go.value;  // would be a race, and a report of TSan, without the mutex
    }
    Increment(done);
  });
  Increment(go);
  ASSERT_TRUE(WaitForValue(done, 1));
  MutexLock lock(go.mutex);
  EXPECT_EQ(go.value, 2);
}

TEST(CondVar, WaitForGivesUpAndStillHoldsTheMutex) {
  Counter counter;
  const auto start = Clock::now();
  {
    MutexLock lock(counter.mutex);
    counter.changed.WaitFor(counter.mutex, std::chrono::milliseconds{1});
    counter.value = 7;
  }
  EXPECT_LT(Clock::now() - start, kDeadline);
  EXPECT_TRUE(WaitForValue(counter, 7));
}

}  // namespace
}  // namespace ebb
