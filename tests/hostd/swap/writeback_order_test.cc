// SPDX-License-Identifier: MIT
#include "hostd/swap/writeback_order.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <vector>

namespace ebb {
namespace {

class WritebackOrderTest : public testing::Test {
 protected:
  static constexpr uint32_t kRecords = 40'000;

  SwapId Add(bool second_chance = false) {
    const SwapId id = *table_.Allocate({SwapLocation::InPool(Codec::kLz4, 100, {1}), 0});
    order_.Add(id, second_chance);
    return id;
  }
  std::vector<SwapId> AddMany(size_t count, bool second_chance = false) {
    std::vector<SwapId> ids;
    while (ids.size() < count) ids.push_back(Add(second_chance));
    return ids;
  }
  std::vector<SwapId> TakeAll() {
    std::vector<SwapId> ids;
    while (const auto taken = order_.TakeOldest()) ids.push_back(taken->id);
    return ids;
  }
  // Its page comes back: the record is free for another one.
  void Remove(SwapId id) {
    table_.Retire(id);
    table_.Reap([this](SwapId reaped, SwapLocation) {
      order_.Remove(reaped);
      return true;
    });
  }

  std::vector<std::byte> memory_ = std::vector<std::byte>(SwapDescTable::BytesFor(kRecords));
  SwapDescTable table_{memory_.data(), kRecords};
  WritebackOrder order_{&table_};
};

TEST_F(WritebackOrderTest, EverythingIsTakenOnce) {
  EXPECT_FALSE(order_.TakeOldest());
  const std::vector<SwapId> added = AddMany(1000);
  EXPECT_EQ(order_.objects(), 1000u);
  const std::vector<SwapId> taken = TakeAll();
  EXPECT_EQ(std::set<SwapId>(taken.begin(), taken.end()),
            std::set<SwapId>(added.begin(), added.end()));
  EXPECT_EQ(taken.size(), 1000u);
  EXPECT_EQ(order_.objects(), 0u);
}

// Whatever comes and goes: when one is taken, no other is older by more than one generation.
TEST_F(WritebackOrderTest, NoneIsTakenWhileAnotherIsOlderByMoreThanAGeneration) {
  const unsigned seed = std::random_device()();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  uint64_t now = 0;
  std::map<SwapId, uint64_t> added;  // when
  std::set<uint64_t> times;          // of those
  uint64_t most = 0;
  for (int round = 0; round < 400; ++round) {
    for (uint64_t count = random() % 300; count > 0 && added.size() < kRecords / 2; --count) {
      added[Add()] = ++now;
      times.insert(now);
    }
    for (uint64_t count = random() % 100; count > 0 && !added.empty(); --count) {
      auto victim = added.lower_bound({static_cast<uint32_t>(random() % kRecords)});
      if (victim == added.end()) victim = added.begin();
      Remove(victim->first);
      times.erase(victim->second);
      added.erase(victim);
    }
    most = std::max<uint64_t>(most, added.size());
    for (uint64_t count = random() % 150; count > 0; --count) {
      const auto taken = order_.TakeOldest();
      ASSERT_EQ(taken.has_value(), !added.empty());
      if (!taken) break;
      const uint64_t taken_at = added.at(taken->id);
      // Two generations of those there have been at the most.
      ASSERT_LE(taken_at, *times.begin() + 2 * std::max<uint64_t>(most / 16, 64))
          << "an older one waits";
      times.erase(taken_at);
      added.erase(taken->id);
      Remove(taken->id);
    }
  }
}

TEST_F(WritebackOrderTest, WhatCameBackSoonIsPassedByOnce) {
  const std::vector<SwapId> again = AddMany(100, true);
  const std::vector<SwapId> others = AddMany(400);
  const std::vector<SwapId> taken = TakeAll();
  ASSERT_EQ(taken.size(), 500u);
  std::vector<SwapId> last(taken.end() - 100, taken.end());
  std::sort(last.begin(), last.end());
  EXPECT_EQ(last, again);
}

TEST_F(WritebackOrderTest, WhatIsPutBackIsAsOldAsItWas) {
  const std::vector<SwapId> old = AddMany(64);
  AddMany(1000);
  const auto taken = order_.TakeOldest();
  ASSERT_TRUE(taken);
  EXPECT_LE(taken->id, old.back());
  while (order_.TakeOldest()->id <= old.back()) {
    if (order_.objects() <= 1000) break;
  }
  order_.PutBack(taken->id, taken->generation);
  EXPECT_EQ(order_.TakeOldest()->id, taken->id);
}

TEST_F(WritebackOrderTest, GenerationsAreCountedSinceItCame) {
  const SwapId id = Add();
  EXPECT_EQ(order_.GenerationsSince(id), 0u);
  AddMany(200);
  EXPECT_GE(*order_.GenerationsSince(id), 2u);
  order_.Remove(id);
  EXPECT_EQ(order_.GenerationsSince(id), std::nullopt);
  EXPECT_EQ(order_.GenerationsSince(kZeroPageId), std::nullopt);
}

// Nothing is written back, and pages come and go for very long: there are only so many numbers.
TEST_F(WritebackOrderTest, OldestStayOldestWhenNumbersRunOut) {
  const std::vector<SwapId> old = AddMany(200);
  for (int i = 0; i < 300 * 64; ++i) Remove(Add());
  const std::vector<SwapId> young = AddMany(200);
  EXPECT_EQ(order_.objects(), 400u);
  std::vector<SwapId> taken = TakeAll();
  ASSERT_EQ(taken.size(), 400u);
  taken.resize(200);
  std::sort(taken.begin(), taken.end());
  EXPECT_EQ(taken, old);
}

TEST_F(WritebackOrderTest, RetiredRecordLeavesTheOrderWhenItIsReaped) {
  const SwapId id = Add();
  table_.Retire(id);
  EXPECT_EQ(order_.objects(), 1u);
  table_.Reap([this](SwapId reaped, SwapLocation) {
    order_.Remove(reaped);
    return true;
  });
  EXPECT_EQ(order_.objects(), 0u);
  EXPECT_FALSE(order_.TakeOldest());
}

}  // namespace
}  // namespace ebb
