// SPDX-License-Identifier: MIT
#include "hostd/os/wake_event.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <thread>

#include "hostd/base/clock.h"
#include "hostd/base/unique_fd.h"
#include "hostd/base/units.h"

namespace ebb {
namespace {

constexpr int64_t kDeadlineNs = 20 * kNsPerS;

class WakeEventTest : public testing::Test {
 protected:
  void SetUp() override {
    int fds[2];
    ASSERT_EQ(pipe(fds), 0);
    reading_ = UniqueFd(fds[0]);
    writing_ = UniqueFd(fds[1]);
  }

  WakeEvent event_;
  UniqueFd reading_;
  UniqueFd writing_;
};

TEST_F(WakeEventTest, SetIsSeenOnceItIsWaitedFor) {
  event_.Set();
  const PollResult result = WaitReadable(reading_.get(), event_, kDeadlineNs);
  EXPECT_TRUE(result.event_set);
  EXPECT_FALSE(result.fd_ready);
}

TEST_F(WakeEventTest, SetStaysUntilItIsCleared) {
  event_.Set();
  event_.Set();
  EXPECT_TRUE(WaitReadable(reading_.get(), event_, 0).event_set);
  EXPECT_TRUE(WaitReadable(reading_.get(), event_, 0).event_set);
  event_.Clear();
  EXPECT_FALSE(WaitReadable(reading_.get(), event_, 0).event_set);
}

TEST_F(WakeEventTest, ClearWithoutASetDoesNotBlock) {
  event_.Clear();
  EXPECT_FALSE(IsReadable(event_.fd()));
}

TEST_F(WakeEventTest, SetFromAnotherThreadEndsTheWait) {
  std::jthread setter([this] { event_.Set(); });
  const int64_t start_ns = MonotonicNs();
  EXPECT_TRUE(WaitReadable(reading_.get(), event_, kDeadlineNs).event_set);
  EXPECT_LT(MonotonicNs() - start_ns, kDeadlineNs);
}

TEST_F(WakeEventTest, ReadableDescriptorEndsTheWait) {
  ASSERT_EQ(write(writing_.get(), "x", 1), 1);
  const PollResult result = WaitReadable(reading_.get(), event_, kDeadlineNs);
  EXPECT_TRUE(result.fd_ready);
  EXPECT_FALSE(result.event_set);
}

TEST_F(WakeEventTest, ClosedPeerEndsTheWait) {
  writing_.Reset();
  EXPECT_TRUE(WaitReadable(reading_.get(), event_, kDeadlineNs).fd_ready);
}

TEST_F(WakeEventTest, WaitEndsAfterItsTime) {
  const int64_t start_ns = MonotonicNs();
  const PollResult result = WaitReadable(reading_.get(), event_, 2 * kNsPerMs);
  EXPECT_FALSE(result.fd_ready || result.event_set);
  EXPECT_GE(MonotonicNs() - start_ns, 2 * kNsPerMs);
}

TEST_F(WakeEventTest, IsReadableAsksWithoutWaiting) {
  EXPECT_FALSE(IsReadable(reading_.get()));
  ASSERT_EQ(write(writing_.get(), "x", 1), 1);
  EXPECT_TRUE(IsReadable(reading_.get()));
}

TEST_F(WakeEventTest, MoreSetsThanACounterHoldsDoNotBlock) {
  for (int i = 0; i < 100'000; ++i) event_.Set();
  EXPECT_TRUE(IsReadable(event_.fd()));
}

}  // namespace
}  // namespace ebb
