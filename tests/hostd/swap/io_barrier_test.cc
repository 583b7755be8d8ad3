// SPDX-License-Identifier: MIT
#include "hostd/swap/io_barrier.h"

#include <gtest/gtest.h>

#include "hostd/base/units.h"

namespace ebb {
namespace {

TEST(GraceTime, WhatWasProtectedAGraceTimeAgoIsSafe) {
  GraceTime grace(30 * kNsPerS);
  EXPECT_EQ(grace.SafeBeforeNs(100 * kNsPerS), 70 * kNsPerS);
}

TEST(GraceTime, DefaultOutlastsTheRetriesOfStorage) {
  GraceTime grace;
  EXPECT_EQ(grace.SafeBeforeNs(1000 * kNsPerS), 700 * kNsPerS);
  EXPECT_EQ(grace.IntervalNs(), 300 * kNsPerS);
}

TEST(GraceTime, RequestDoesNotShortenIt) {
  GraceTime grace(30 * kNsPerS);
  grace.Request(/*urgent=*/true);
  EXPECT_EQ(grace.SafeBeforeNs(100 * kNsPerS), 70 * kNsPerS);
}

TEST(GraceTime, SaysWhatItIs) {
  GraceTime grace(30 * kNsPerS);
  EXPECT_EQ(grace.Status().mode, "grace");
  EXPECT_EQ(grace.Status().interval_ms, 30'000u);
}

}  // namespace
}  // namespace ebb
