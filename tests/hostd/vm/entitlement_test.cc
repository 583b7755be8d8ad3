// SPDX-License-Identifier: MIT
#include "hostd/vm/entitlement.h"

#include <gtest/gtest.h>

#include <string>

namespace ebb {
namespace {

constexpr uint64_t kWebRam = 1024 * kMiB;

class EntitlementTest : public testing::Test {
 protected:
  static void ExpectRefused(const absl::Status& status, absl::StatusCode code,
                            const std::string& part) {
    EXPECT_EQ(status.code(), code);
    EXPECT_NE(std::string(status.message()).find(part), std::string::npos) << status;
    EXPECT_NE(std::string(status.message()).find("web"), std::string::npos) << status;
  }

  Residency residency_;
  ReclaimAlarm alarm_;
  Entitlement entitlement_{"web", kWebRam, &residency_, &alarm_};
};

TEST_F(EntitlementTest, NothingHoldsAtFirst) {
  EXPECT_FALSE(residency_.limited());
  EXPECT_EQ(entitlement_.target_bytes(), 0u);
  EXPECT_EQ(entitlement_.orders().weight, 100u);
  EXPECT_EQ(entitlement_.plan().host_bytes, 0u);
}

TEST_F(EntitlementTest, TheLowerOfLimitAndPlanHolds) {
  ASSERT_TRUE(entitlement_.SetLimit(512 * kMiB).ok());
  EXPECT_EQ(entitlement_.target_bytes(), 512 * kMiB);
  entitlement_.SetPlan({700 * kMiB, 600 * kMiB});
  EXPECT_EQ(entitlement_.target_bytes(), 512 * kMiB);
  entitlement_.SetPlan({400 * kMiB, 300 * kMiB});
  EXPECT_EQ(entitlement_.target_bytes(), 300 * kMiB);
  EXPECT_EQ(residency_.limit(), BytesToPages(300 * kMiB));
  EXPECT_EQ(entitlement_.plan().host_bytes, 400 * kMiB);
  ASSERT_TRUE(entitlement_.SetLimit(0).ok());
  EXPECT_EQ(entitlement_.target_bytes(), 300 * kMiB);
  entitlement_.SetPlan({});
  EXPECT_EQ(entitlement_.target_bytes(), 0u);
  EXPECT_FALSE(residency_.limited());
}

TEST_F(EntitlementTest, NothingHoldsWhileEverythingIsBroughtBack) {
  ASSERT_TRUE(entitlement_.SetLimit(512 * kMiB).ok());
  entitlement_.Suspend();
  EXPECT_FALSE(residency_.limited());
  entitlement_.SetPlan({400 * kMiB, 300 * kMiB});
  EXPECT_FALSE(residency_.limited()) << "a plan that comes meanwhile waits";
  entitlement_.Resume();
  EXPECT_EQ(entitlement_.target_bytes(), 300 * kMiB);
  EXPECT_EQ(entitlement_.orders().limit, 512 * kMiB);
}

TEST_F(EntitlementTest, OrdersThatMakeNoSenseAreRefusedAndChangeNothing) {
  ExpectRefused(entitlement_.SetLimit(32 * kMiB - 1), absl::StatusCode::kInvalidArgument, "32 MiB");
  ExpectRefused(entitlement_.SetGuarantee(kWebRam + 1), absl::StatusCode::kInvalidArgument,
                "1024 MiB");
  for (const uint64_t weight : {uint64_t{0}, uint64_t{10001}}) {
    ExpectRefused(entitlement_.SetWeight(weight), absl::StatusCode::kInvalidArgument, "10000");
  }
  EXPECT_EQ(entitlement_.orders().limit, 0u);
  EXPECT_EQ(entitlement_.orders().guarantee, 0u);
  EXPECT_EQ(entitlement_.orders().weight, 100u);
}

TEST_F(EntitlementTest, LimitLeavesRoomForTheGuarantee) {
  ASSERT_TRUE(entitlement_.SetGuarantee(256 * kMiB).ok());
  ExpectRefused(entitlement_.SetLimit(256 * kMiB), absl::StatusCode::kFailedPrecondition,
                "guaranteed 256 MiB");
  ASSERT_TRUE(entitlement_.SetLimit(272 * kMiB).ok());
  // What reclaim goes down to, and a little further.
  EXPECT_GE(residency_.target(), BytesToPages(256 * kMiB) + Reclaim::kMaxTakenTooMuch);
  EXPECT_EQ(entitlement_.floor_pages(), BytesToPages(256 * kMiB) + Reclaim::kMaxTakenTooMuch);
  ExpectRefused(entitlement_.SetGuarantee(272 * kMiB), absl::StatusCode::kFailedPrecondition,
                "limited to 272 MiB");
  EXPECT_EQ(entitlement_.orders().guarantee, 256 * kMiB);
  ASSERT_TRUE(entitlement_.SetGuarantee(0).ok());
  EXPECT_EQ(entitlement_.floor_pages(), 0u);
  ASSERT_TRUE(entitlement_.SetLimit(64 * kMiB).ok());
}

TEST_F(EntitlementTest, WhatHeldEarlierIsRestored) {
  entitlement_.Restore({512 * kMiB, 128 * kMiB, 300});
  EXPECT_EQ(entitlement_.target_bytes(), 512 * kMiB);
  EXPECT_EQ(entitlement_.orders().guarantee, 128 * kMiB);
  EXPECT_EQ(entitlement_.orders().weight, 300u);
}

}  // namespace
}  // namespace ebb
