// SPDX-License-Identifier: MIT
#include "hostd/swap/inflow.h"

#include <gtest/gtest.h>

namespace ebb {
namespace {

constexpr int64_t kStartNs = 5 * kNsPerS;

TEST(Inflow, IsZeroBeforeAnythingCameIn) {
  Inflow inflow;
  EXPECT_EQ(inflow.pages_per_s(), 0u);
  inflow.Sample(kStartNs, 1'000'000, 0);
  EXPECT_EQ(inflow.pages_per_s(), 0u) << "what was there at first did not come in";
  inflow.Sample(kStartNs + kNsPerS, 1'000'000, 0);
  EXPECT_EQ(inflow.pages_per_s(), 0u);
}

TEST(Inflow, CountsWhatResidencyGrewBy) {
  Inflow inflow;
  inflow.Sample(kStartNs, 1000, 0);
  inflow.Sample(kStartNs + 2 * kNsPerS, 1600, 0);
  EXPECT_EQ(inflow.pages_per_s(), 300u);
}

// At its limit a VM does not grow: what comes in is what is swapped out.
TEST(Inflow, CountsWhatWasSwappedOutMeanwhile) {
  Inflow inflow;
  inflow.Sample(kStartNs, 1000, 5000);
  inflow.Sample(kStartNs + kNsPerS, 1000, 5700);
  EXPECT_EQ(inflow.pages_per_s(), 700u);
}

TEST(Inflow, SwappingOutAloneIsNoInflow) {
  Inflow inflow;
  inflow.Sample(kStartNs, 1000, 0);
  inflow.Sample(kStartNs + kNsPerS, 300, 700);
  EXPECT_EQ(inflow.pages_per_s(), 0u);
}

TEST(Inflow, MemoryThatTheGuestGaveBackIsNoInflow) {
  Inflow inflow;
  inflow.Sample(kStartNs, 1000, 0);
  inflow.Sample(kStartNs + kNsPerS, 100, 0);
  EXPECT_EQ(inflow.pages_per_s(), 0u) << "and no huge number either";
}

TEST(Inflow, RisesAtOnceAndFallsByAThirdPerSample) {
  Inflow inflow;
  int64_t now_ns = kStartNs;
  inflow.Sample(now_ns, 0, 0);
  inflow.Sample(now_ns += kNsPerS, 900, 0);
  EXPECT_EQ(inflow.pages_per_s(), 900u);
  inflow.Sample(now_ns += kNsPerS, 900, 0);
  EXPECT_EQ(inflow.pages_per_s(), 600u);
  inflow.Sample(now_ns += kNsPerS, 900, 0);
  EXPECT_EQ(inflow.pages_per_s(), 400u);
  inflow.Sample(now_ns += kNsPerS, 1900, 0);
  EXPECT_EQ(inflow.pages_per_s(), 1000u);
}

TEST(Inflow, LooksTooCloseTogetherChangeNothingAndLoseNothing) {
  Inflow inflow;
  inflow.Sample(kStartNs, 0, 0);
  for (int64_t ms = 20; ms < 500; ms += 20) {
    inflow.Sample(kStartNs + ms * kNsPerMs, static_cast<uint64_t>(ms), 0);
    EXPECT_EQ(inflow.pages_per_s(), 0u);
  }
  inflow.Sample(kStartNs + 500 * kNsPerMs, 500, 0);
  EXPECT_EQ(inflow.pages_per_s(), 1000u);
}

}  // namespace
}  // namespace ebb
