// SPDX-License-Identifier: MIT
#include "hostd/vm/tier_watch.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "hostd/base/clock.h"
#include "tests/hostd/vm/tier_fixture.h"

namespace ebb {
namespace {

class TierWatchTest : public testing::Test {
 protected:
  // Since the last call.
  std::vector<std::string> NewEvents() {
    std::vector<std::string> kinds;
    const EventBatch batch = registry_.EventsAfter(seen_);
    for (const Event& event : batch.events) {
      kinds.push_back(EventKindName(event.kind));
      last_message_ = event.message;
    }
    seen_ = batch.next;
    return kinds;
  }
  // `seconds` after the start, whose own clock the registry reads.
  void LookAt(int64_t seconds) { watch_.Look(start_ns_ + seconds * kNsPerS); }
  DiskTier& disk() { return *registry_.tiers().disk; }

  using Kinds = std::vector<std::string>;
  const int64_t start_ns_ = MonotonicNs();
  Registry registry_{"1", start_ns_, 0, 0, FakeTier(4)};
  TierWatch watch_{&registry_};
  uint64_t seen_ = 0;
  std::string last_message_;
};

TEST_F(TierWatchTest, DiskThatIsWellIsNotTalkedOf) {
  LookAt(0);
  LookAt(100);
  EXPECT_EQ(NewEvents(), Kinds{});
}

TEST_F(TierWatchTest, TroubleIsSaidOnceAndItsEndHalfAMinuteLater) {
  disk().NoteWrite(false, 1, start_ns_);
  LookAt(0);
  EXPECT_EQ(NewEvents(), Kinds{"tier_trouble"});
  EXPECT_NE(last_message_.find("/a/disk failed"), std::string::npos) << last_message_;
  LookAt(5);
  EXPECT_EQ(NewEvents(), Kinds{});
  disk().NoteWrite(true, 1, start_ns_);
  LookAt(10);
  LookAt(30);
  EXPECT_EQ(NewEvents(), Kinds{}) << "it may come back";
  LookAt(35);
  EXPECT_EQ(NewEvents(), Kinds{"tier_recovered"});
  EXPECT_NE(last_message_.find("it was failing"), std::string::npos) << last_message_;
  LookAt(40);
  EXPECT_EQ(NewEvents(), Kinds{});
}

TEST_F(TierWatchTest, TroubleThatComesBackSoonIsNotSaidAgain) {
  for (int64_t second = 0; second < 100; second += 10) {
    disk().NoteWrite(second % 20 != 0, 1, start_ns_ + second * kNsPerS);
    LookAt(second);
  }
  EXPECT_EQ(NewEvents(), Kinds{"tier_trouble"});
}

TEST_F(TierWatchTest, OtherTroubleIsSaid) {
  disk().NoteWrite(false, 1, start_ns_);
  LookAt(0);
  disk().NoteWaiting(0, MonotonicNs() + 100 * kNsPerS);
  LookAt(5);
  EXPECT_EQ(NewEvents(), (Kinds{"tier_trouble", "tier_trouble"}));
  EXPECT_NE(last_message_.find("has not answered"), std::string::npos) << last_message_;
}

TEST(TierWatch, WithoutADiskThereIsNothingToSay) {
  Registry registry("1", MonotonicNs());
  TierWatch watch(&registry);
  watch.Look(MonotonicNs());
  EXPECT_TRUE(registry.EventsAfter(0).events.empty());
  EXPECT_EQ(registry.Tiers().size(), 1u);
}

}  // namespace
}  // namespace ebb
