// SPDX-License-Identifier: MIT
#include "hostd/swap/loss_notices.h"

#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

namespace ebb {
namespace {

TEST(LossNotices, WithoutALossThereIsNothingToSay) {
  LossNotices notices;
  EXPECT_FALSE(notices.Take());
}

TEST(LossNotices, LossIsSaidOnce) {
  LossNotices notices;
  notices.Post({7}, "torn");
  const auto notice = notices.Take();
  ASSERT_TRUE(notice);
  EXPECT_EQ(notice->page.value, 7u);
  EXPECT_EQ(notice->reason, std::string("torn"));
  EXPECT_EQ(notice->others, 0u);
  EXPECT_FALSE(notices.Take());
}

TEST(LossNotices, LastReasonStays) {
  LossNotices notices;
  EXPECT_EQ(notices.last_reason(), std::string(""));
  notices.Post({7}, "torn");
  notices.Post({8}, "unreadable");
  EXPECT_TRUE(notices.Take());
  EXPECT_EQ(notices.last_reason(), std::string("unreadable"));
}

TEST(LossNotices, LossesAtOnceAreCounted) {
  LossNotices notices;
  for (uint64_t page = 1; page <= 5; ++page) notices.Post({page}, "torn");
  const auto notice = notices.Take();
  ASSERT_TRUE(notice);
  EXPECT_EQ(notice->page.value, 1u);
  EXPECT_EQ(notice->others, 4u);
  notices.Post({6}, "torn");
  EXPECT_EQ(notices.Take()->others, 0u);
}

TEST(LossNotices, NoneIsForgottenWhileTheyAreTaken) {
  constexpr uint64_t kThreads = 3;
  constexpr uint64_t kLosses = 20000;
  LossNotices notices;
  std::atomic<uint64_t> at_work{kThreads};
  std::vector<std::jthread> losers;
  for (uint64_t i = 0; i < kThreads; ++i) {
    losers.emplace_back([&] {
      for (uint64_t page = 0; page < kLosses; ++page) notices.Post({page}, "torn");
      --at_work;
    });
  }
  uint64_t said = 0;
  const auto take = [&] {
    const auto notice = notices.Take();
    if (notice) said += 1 + notice->others;
  };
  while (at_work > 0) take();
  losers.clear();
  take();
  // Counted after the last notice was taken: they go with the next one.
  notices.Post({0}, "torn");
  take();
  EXPECT_EQ(said, kThreads * kLosses + 1);
}

}  // namespace
}  // namespace ebb
