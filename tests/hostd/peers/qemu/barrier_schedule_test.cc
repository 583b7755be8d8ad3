// SPDX-License-Identifier: MIT
#include "hostd/peers/qemu/barrier_schedule.h"

#include <gtest/gtest.h>

#include <random>

namespace ebb {
namespace {

constexpr int64_t kFast = 2 * kNsPerMs;
constexpr int64_t kNow = 1000 * kNsPerS;

class BarrierScheduleTest : public testing::Test {
 protected:
  // A barrier at the soonest an urgent one may start, of that duration.
  void Run(int64_t duration_ns) {
    now_ns_ = std::max(now_ns_, schedule_.NextStartNs(/*urgent=*/true));
    schedule_.NoteCompleted(now_ns_, now_ns_ + duration_ns);
  }
  int64_t Interval(bool urgent) { return schedule_.IntervalNs(urgent); }

  BarrierSchedule schedule_;
  int64_t now_ns_ = kNow;
};

TEST_F(BarrierScheduleTest, FirstBarrierMayStartAtOnce) {
  EXPECT_EQ(schedule_.NextStartNs(false), 0);
  EXPECT_EQ(schedule_.NextStartNs(true), 0);
}

TEST_F(BarrierScheduleTest, FastBarriersAreTenSecondsApartOrOneWhenUrgent) {
  schedule_.NoteCompleted(kNow, kNow + kFast);
  EXPECT_EQ(schedule_.NextStartNs(false), kNow + 10 * kNsPerS);
  EXPECT_EQ(schedule_.NextStartNs(true), kNow + kNsPerS);
}

TEST_F(BarrierScheduleTest, FiftyMillisecondsAreNotSlowYet) {
  schedule_.NoteCompleted(kNow, kNow + 50 * kNsPerMs);
  EXPECT_EQ(Interval(false), 10 * kNsPerS);
}

TEST_F(BarrierScheduleTest, SlowBarrierDoublesTheInterval) {
  schedule_.NoteCompleted(kNow, kNow + 51 * kNsPerMs);
  EXPECT_EQ(Interval(false), 20 * kNsPerS);
  EXPECT_EQ(Interval(true), 2 * kNsPerS);
}

TEST_F(BarrierScheduleTest, SlowBarriersKeepDoublingUpTo64Times) {
  int64_t factor = 1;
  for (int i = 0; i < 10; ++i) {
    schedule_.NoteCompleted(kNow + i * 1000 * kNsPerS, kNow + i * 1000 * kNsPerS + 60 * kNsPerMs);
    factor = std::min<int64_t>(factor * 2, 64);
    EXPECT_EQ(Interval(false), factor * 10 * kNsPerS) << i;
  }
}

TEST_F(BarrierScheduleTest, FastBarriersHalveTheIntervalAgain) {
  for (int i = 0; i < 3; ++i) {
    now_ns_ += 1000 * kNsPerS;
    schedule_.NoteCompleted(now_ns_, now_ns_ + 60 * kNsPerMs);
  }
  for (const int64_t factor : {4, 2, 1, 1}) {
    now_ns_ += 1000 * kNsPerS;
    schedule_.NoteCompleted(now_ns_, now_ns_ + kFast);
    EXPECT_EQ(Interval(false), factor * 10 * kNsPerS);
  }
}

TEST_F(BarrierScheduleTest, OneSlowBarrierIsPaidFromWhatFastOnesSaved) {
  schedule_.NoteCompleted(kNow, kNow + 200 * kNsPerMs);
  EXPECT_EQ(Interval(true), 2 * kNsPerS) << "not 20 s";
}

TEST_F(BarrierScheduleTest, BarrierBeyondTheSavingsWaitsUntilItIsPaid) {
  schedule_.NoteCompleted(kNow, kNow + 350 * kNsPerMs);
  EXPECT_EQ(Interval(true), 10 * kNsPerS) << "100 ms more than the 250 ms that were saved";
}

TEST_F(BarrierScheduleTest, SavingsComeBackAtAHundredthOfTheTime) {
  schedule_.NoteCompleted(kNow, kNow + 250 * kNsPerMs);  // all of them
  const int64_t later_ns = kNow + 5 * kNsPerS;           // 50 ms saved since
  schedule_.NoteCompleted(later_ns, later_ns + 150 * kNsPerMs);
  EXPECT_EQ(Interval(true), 10 * kNsPerS) << "100 ms short";
}

TEST_F(BarrierScheduleTest, LongQuietSavesNoMoreThanTheLimit) {
  schedule_.NoteCompleted(kNow, kNow + kFast);
  const int64_t later_ns = kNow + 100'000 * kNsPerS;
  schedule_.NoteCompleted(later_ns, later_ns + 400 * kNsPerMs);
  EXPECT_EQ(Interval(true), 15 * kNsPerS);
}

// What the rules are for, whatever the disks do.
TEST_F(BarrierScheduleTest, BarriersTakeAHundredthOfTheTimeAtMost) {
  for (unsigned seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    std::mt19937 random(seed);
    schedule_ = BarrierSchedule();
    now_ns_ = kNow;
    int64_t spent_ns = 0;
    int64_t last_ns = 0;
    for (int i = 0; i < 500; ++i) {
      last_ns = random() % 10 == 0 ? static_cast<int64_t>(random() % 5000) * kNsPerMs
                                   : static_cast<int64_t>(random() % 20) * kNsPerMs;
      Run(last_ns);
      spent_ns += last_ns;
      ASSERT_LE(spent_ns, (now_ns_ - kNow) / 100 + 250 * kNsPerMs + last_ns) << "barrier " << i;
    }
  }
}

}  // namespace
}  // namespace ebb
