// SPDX-License-Identifier: MIT
#include "hostd/base/test_points.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <future>
#include <thread>

#ifndef EBB_TEST_POINTS
#error "this test is built with -DEBB_TEST_POINTS, see meson.build"
#endif

namespace ebb {
namespace {

constexpr std::chrono::seconds kDeadline{20};

// Points belong to the whole process: each test removes what it sets.
class TestPoints : public testing::Test {
 protected:
  ~TestPoints() override {
    SetTestPoint("here", nullptr);
    SetTestPoint("there", nullptr);
  }
};

TEST_F(TestPoints, UnsetPointDoesNothing) { EBB_TEST_POINT("here"); }

TEST_F(TestPoints, ActionRunsEachTimeOnTheThreadThatPasses) {
  int times = 0;
  std::thread::id runner;
  SetTestPoint("here", [&] {
    ++times;
    runner = std::this_thread::get_id();
  });
  EBB_TEST_POINT("here");
  EBB_TEST_POINT("here");
  EXPECT_EQ(times, 2);
  EXPECT_EQ(runner, std::this_thread::get_id());
}

TEST_F(TestPoints, PointsAreToldApartByName) {
  int here = 0;
  int there = 0;
  SetTestPoint("here", [&] { ++here; });
  SetTestPoint("there", [&] { ++there; });
  EBB_TEST_POINT("there");
  EBB_TEST_POINT("elsewhere");
  EXPECT_EQ(here, 0);
  EXPECT_EQ(there, 1);
}

TEST_F(TestPoints, LaterActionReplacesEarlier) {
  int earlier = 0;
  int later = 0;
  SetTestPoint("here", [&] { ++earlier; });
  SetTestPoint("here", [&] { ++later; });
  EBB_TEST_POINT("here");
  EXPECT_EQ(earlier, 0);
  EXPECT_EQ(later, 1);
}

TEST_F(TestPoints, EmptyActionRemovesOnlyItsPoint) {
  int here = 0;
  int there = 0;
  SetTestPoint("here", [&] { ++here; });
  SetTestPoint("there", [&] { ++there; });
  SetTestPoint("here", nullptr);
  EBB_TEST_POINT("here");
  EBB_TEST_POINT("there");
  EXPECT_EQ(here, 0);
  EXPECT_EQ(there, 1);
}

// What the points are for: thread A stands still in the middle while B does its part. Another
// thread passes another point meanwhile, so a blocked action holds nobody else up.
TEST_F(TestPoints, BlockedActionHoldsOneThreadOnly) {
  std::promise<void> reached;
  std::promise<void> go_on;
  std::atomic<bool> passed{false};
  int there = 0;
  SetTestPoint("here", [&] {
    reached.set_value();
    EXPECT_EQ(go_on.get_future().wait_for(kDeadline), std::future_status::ready);
  });
  SetTestPoint("there", [&] { ++there; });

  std::jthread blocked([&] {
    EBB_TEST_POINT("here");
    passed = true;
  });
  ASSERT_EQ(reached.get_future().wait_for(kDeadline), std::future_status::ready);
  EBB_TEST_POINT("there");
  EXPECT_EQ(there, 1);
  EXPECT_FALSE(passed);

  go_on.set_value();
  blocked.join();
  EXPECT_TRUE(passed);
}

}  // namespace
}  // namespace ebb
