// SPDX-License-Identifier: MIT
#include "hostd/base/histogram.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <random>
#include <thread>
#include <vector>

namespace ebb {
namespace {

TEST(Histogram, EmptyHasNoPercentile) {
  Histogram histogram;
  EXPECT_EQ(histogram.count(), 0u);
  EXPECT_EQ(histogram.PercentileNs(0.5), 0u);
  EXPECT_EQ(histogram.PercentileNs(1), 0u);
}

TEST(Histogram, SmallValuesAreExact) {
  for (int64_t ns = 0; ns < 16; ++ns) {
    Histogram histogram;
    histogram.Add(ns);
    EXPECT_EQ(histogram.PercentileNs(1), static_cast<uint64_t>(ns));
  }
}

TEST(Histogram, NegativeCountsAsZero) {
  Histogram histogram;
  histogram.Add(-5);
  histogram.Add(std::numeric_limits<int64_t>::min());
  EXPECT_EQ(histogram.count(), 2u);
  EXPECT_EQ(histogram.PercentileNs(1), 0u);
}

// Around each power of two, where a wrong bucket would show, and at random places between.
TEST(Histogram, PercentileIsNeverBelowAndAtMostAnEighthAbove) {
  std::mt19937_64 random(1);  // the seed is fixed: every run tries the same values
  std::vector<uint64_t> values;
  for (int bit = 0; bit < 48; ++bit) {
    const uint64_t power = uint64_t{1} << bit;
    values.insert(values.end(), {power - 1, power, power + 1, power + random() % power});
  }
  for (uint64_t ns : values) {
    if (ns >= uint64_t{1} << 48) continue;
    Histogram histogram;
    histogram.Add(static_cast<int64_t>(ns));
    const uint64_t shown = histogram.PercentileNs(0.5);
    EXPECT_GE(shown, ns);
    EXPECT_LE(shown - ns, ns / 8) << ns;
  }
}

TEST(Histogram, TooLongDurationsLandInTheLastBucket) {
  Histogram histogram;
  histogram.Add(std::numeric_limits<int64_t>::max());
  EXPECT_EQ(histogram.count(), 1u);
  EXPECT_GE(histogram.PercentileNs(1), uint64_t{1} << 48);
}

TEST(Histogram, PercentilesFollowTheRanks) {
  Histogram histogram;
  for (int i = 0; i < 99; ++i) histogram.Add(10);
  histogram.Add(1'000'000);
  EXPECT_EQ(histogram.PercentileNs(0), 10u);
  EXPECT_EQ(histogram.PercentileNs(0.5), 10u);
  EXPECT_EQ(histogram.PercentileNs(0.98), 10u);
  EXPECT_GE(histogram.PercentileNs(1), 1'000'000u);
}

TEST(Histogram, AddsOfSeveralThreadsAreAllCounted) {
  constexpr int kThreads = 4;
  constexpr int kAddsPerThread = 10'000;
  Histogram histogram;
  std::vector<std::jthread> threads;
  for (int thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&histogram] {
      for (int i = 0; i < kAddsPerThread; ++i) histogram.Add(i);
    });
  }
  threads.clear();  // joins
  EXPECT_EQ(histogram.count(), static_cast<uint64_t>(kThreads * kAddsPerThread));
}

}  // namespace
}  // namespace ebb
