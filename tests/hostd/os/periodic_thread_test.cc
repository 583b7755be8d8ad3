// SPDX-License-Identifier: MIT
#include "hostd/os/periodic_thread.h"

#include <gtest/gtest.h>
#include <pthread.h>

#include <array>
#include <atomic>
#include <string>
#include <thread>

#include "hostd/base/clock.h"
#include "hostd/base/units.h"

namespace ebb {
namespace {

constexpr int64_t kHourNs = 3600 * kNsPerS;
// No wait of these tests takes longer, even on a machine that does ten other things.
constexpr int64_t kPatienceNs = 30 * kNsPerS;

bool WaitForRounds(const std::atomic<int>& rounds, int wanted) {
  for (const int64_t start = MonotonicNs(); MonotonicNs() - start < kPatienceNs;) {
    if (rounds.load() >= wanted) return true;
    std::this_thread::yield();
  }
  return false;
}

TEST(PeriodicThread, DoesItAgainAndAgain) {
  std::atomic<int> rounds{0};
  const PeriodicThread thread("test", ThreadRole::kUrgentReclaim, kNsPerMs, [&] { ++rounds; });
  EXPECT_TRUE(WaitForRounds(rounds, 3));
}

TEST(PeriodicThread, FirstRoundIsAtOnceAndTheEndDoesNotWaitForTheNext) {
  std::atomic<int> rounds{0};
  const int64_t start = MonotonicNs();
  {
    const PeriodicThread thread("test", ThreadRole::kUrgentReclaim, kHourNs, [&] { ++rounds; });
    EXPECT_TRUE(WaitForRounds(rounds, 1));
  }
  EXPECT_EQ(rounds.load(), 1);
  EXPECT_LT(MonotonicNs() - start, kPatienceNs);
}

TEST(PeriodicThread, EndInterruptsARoundThatSleeps) {
  std::atomic<int> rounds{0};
  const int64_t start = MonotonicNs();
  {
    std::atomic<PeriodicThread*> sleeper{nullptr};
    PeriodicThread thread("test", ThreadRole::kUrgentReclaim, kNsPerMs, [&] {
      ++rounds;
      if (sleeper.load() != nullptr) sleeper.load()->Sleep(kHourNs);
    });
    sleeper.store(&thread);
    EXPECT_TRUE(WaitForRounds(rounds, 1));
  }
  EXPECT_LT(MonotonicNs() - start, kPatienceNs);
}

TEST(PeriodicThread, HasItsName) {
  std::atomic<int> rounds{0};
  std::array<char, 16> name{};
  {
    const PeriodicThread thread("test name", ThreadRole::kUrgentReclaim, kHourNs, [&] {
      pthread_getname_np(pthread_self(), name.data(), name.size());
      ++rounds;
    });
    EXPECT_TRUE(WaitForRounds(rounds, 1));
  }
  EXPECT_EQ(std::string(name.data()), "test name");
}

}  // namespace
}  // namespace ebb
