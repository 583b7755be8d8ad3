// SPDX-License-Identifier: MIT
#include "hostd/page/swap_desc_table.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <latch>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <thread>
#include <vector>

namespace ebb {
namespace {

SwapDesc DescOf(uint32_t value) { return {SwapLocation::SameFilled(value), ~value}; }

class SwapDescTableTest : public testing::Test {
 protected:
  static constexpr uint32_t kCapacity = 8;

  // All ids of an empty table, in the order they were allocated.
  std::vector<SwapId> AllocateAll() {
    std::vector<SwapId> ids;
    while (const auto id = table_.Allocate(DescOf(static_cast<uint32_t>(ids.size())))) {
      ids.push_back(*id);
    }
    return ids;
  }
  // The same-filled values of what Reap frees.
  std::vector<uint32_t> Reap() {
    std::vector<uint32_t> values;
    table_.Reap([&](SwapId, SwapLocation location) {
      EXPECT_EQ(location.tier(), TierKind::kSameFilled);
      values.push_back(location.same_filled_value());
      return true;
    });
    return values;
  }

  std::vector<uint64_t> memory_ = std::vector<uint64_t>(SwapDescTable::BytesFor(kCapacity) / 8);
  SwapDescTable table_{reinterpret_cast<std::byte*>(memory_.data()), kCapacity};
};

using SwapDescTableDeathTest = SwapDescTableTest;

TEST_F(SwapDescTableTest, RecordTakesSixteenBytes) {
  EXPECT_EQ(SwapDescTable::BytesFor(0), 16u);
  EXPECT_EQ(SwapDescTable::BytesFor(UINT32_MAX), (uint64_t{1} << 32) * 16);
}

TEST_F(SwapDescTableTest, LoadGivesWhatWasAllocated) {
  const SwapDesc desc = {SwapLocation::InPool(Codec::kLz4, 1234, {99}), 0xcafe};
  const auto id = table_.Allocate(desc);
  ASSERT_TRUE(id);
  EXPECT_NE(id->value, 0u) << "0 is no id";
  const SwapDesc loaded = table_.Load(*id);
  EXPECT_EQ(loaded.checksum, 0xcafeu);
  EXPECT_EQ(loaded.location.tier(), TierKind::kPool);
  EXPECT_EQ(loaded.location.codec(), Codec::kLz4);
  EXPECT_EQ(loaded.location.length_bytes(), 1234u);
  EXPECT_EQ(loaded.location.pool_handle(), PoolHandle{99});
}

TEST_F(SwapDescTableTest, WholeCapacityIsUsableAndThenThereIsNone) {
  const std::vector<SwapId> ids = AllocateAll();
  EXPECT_EQ(ids.size(), kCapacity);
  EXPECT_EQ(std::set<SwapId>(ids.begin(), ids.end()).size(), kCapacity);
  for (uint32_t i = 0; i < kCapacity; ++i) {
    EXPECT_EQ(table_.Load(ids[i]).location.same_filled_value(), i);
    EXPECT_EQ(table_.Load(ids[i]).checksum, ~i);
  }
  EXPECT_FALSE(table_.Allocate(DescOf(0)));
}

TEST_F(SwapDescTableTest, RetiredIdIsNotReusedBeforeItIsReaped) {
  const std::vector<SwapId> ids = AllocateAll();
  table_.Retire(ids[3]);
  EXPECT_FALSE(table_.Allocate(DescOf(0)));
  Reap();
  EXPECT_EQ(table_.Allocate(DescOf(0)), ids[3]);
}

TEST_F(SwapDescTableTest, StorageOfARetiredRecordIsFreedWhenItIsReaped) {
  const std::vector<SwapId> ids = AllocateAll();
  table_.Retire(ids[2]);
  table_.Retire(ids[5]);
  std::vector<uint32_t> freed = Reap();
  std::sort(freed.begin(), freed.end());
  EXPECT_EQ(freed, (std::vector<uint32_t>{2, 5}));
  EXPECT_TRUE(Reap().empty()) << "once";
}

TEST_F(SwapDescTableTest, ReaperSeesTheWholeLocation) {
  const auto location = SwapLocation::InPool(Codec::kLz4, 4096, {(uint64_t{1} << 42) - 1});
  const auto id = table_.Allocate({location, 1});
  const SwapLocation stored = table_.Load(*id).location;
  table_.Retire(*id);
  std::optional<SwapLocation> freed;
  table_.Reap([&](SwapId, SwapLocation reaped) {
    freed = reaped;
    return true;
  });
  EXPECT_EQ(freed, stored);
}

TEST_F(SwapDescTableTest, OtherRecordsStayWhenOneIsReaped) {
  const std::vector<SwapId> ids = AllocateAll();
  table_.Retire(ids[0]);
  Reap();
  for (uint32_t i = 1; i < kCapacity; ++i) {
    EXPECT_EQ(table_.Load(ids[i]).location.same_filled_value(), i);
    EXPECT_EQ(table_.Load(ids[i]).checksum, ~i);
  }
}

TEST_F(SwapDescTableTest, ReusedIdHasAnotherGenerationForTheSameContent) {
  const auto first = table_.Allocate(DescOf(7));
  const SwapLocation before = table_.Load(*first).location;
  table_.Retire(*first);
  Reap();
  const auto second = table_.Allocate(DescOf(7));
  ASSERT_EQ(second, first);
  EXPECT_NE(table_.Load(*second).location, before) << "a reader of the first must notice";
}

TEST_F(SwapDescTableTest, GenerationOfAnIdWrapsAfterItsFourBits) {
  std::set<uint32_t> generations;
  for (int use = 0; use < 300; ++use) {
    const auto id = table_.Allocate(DescOf(1));
    ASSERT_TRUE(id);
    generations.insert(table_.Load(*id).location.generation());
    table_.Retire(*id);
    Reap();
  }
  EXPECT_EQ(generations.size(), 16u);
}

TEST_F(SwapDescTableDeathTest, IdOutOfRangeEndsTheDaemon) {
  EXPECT_DEATH(table_.Load({0}), "out of range");
  EXPECT_DEATH(table_.Load({kCapacity + 1}), "out of range");
  EXPECT_DEATH(table_.Retire({UINT32_MAX - 1}), "out of range");
}

TEST_F(SwapDescTableDeathTest, RetiringAFreeRecordEndsTheDaemon) {
  EXPECT_DEATH(table_.Retire({1}), "retiring a free record");
  const auto id = table_.Allocate(DescOf(1));
  table_.Retire(*id);
  Reap();
  EXPECT_DEATH(table_.Retire(*id), "retiring a free record") << "retired and reaped already";
}

TEST_F(SwapDescTableTest, ZeroPageHasNoRecord) {
  const std::vector<SwapId> ids = AllocateAll();
  EXPECT_EQ(std::count(ids.begin(), ids.end(), kZeroPageId), 0);
  EXPECT_EQ(table_.Load(kZeroPageId).location, SwapLocation::SameFilled(0));
  table_.Retire(kZeroPageId);
  table_.Retire(kZeroPageId);
  EXPECT_TRUE(Reap().empty());
}

TEST_F(SwapDescTableTest, SharedRecordLivesUntilTheLastOfItsPagesIsBack) {
  const SwapId id = *table_.Allocate(DescOf(9));
  EXPECT_TRUE(table_.TryShare(id));
  EXPECT_TRUE(table_.TryShare(id));
  EXPECT_EQ(table_.References(id), 3u);
  for (int page = 0; page < 2; ++page) {
    table_.Retire(id);
    EXPECT_TRUE(Reap().empty()) << "another page names it";
    EXPECT_EQ(table_.Load(id).location.same_filled_value(), 9u);
    EXPECT_EQ(table_.Load(id).checksum, ~9u);
  }
  table_.Retire(id);
  EXPECT_EQ(Reap(), std::vector<uint32_t>{9});
}

TEST_F(SwapDescTableTest, FullReferenceCountSharesNoMore) {
  const SwapId id = *table_.Allocate(DescOf(9));
  for (uint32_t page = 1; page < SwapDescTable::kMaxReferences; ++page) {
    ASSERT_TRUE(table_.TryShare(id));
  }
  EXPECT_FALSE(table_.TryShare(id)) << "the next page needs a record of its own";
  EXPECT_EQ(table_.References(id), SwapDescTable::kMaxReferences);
  table_.Retire(id);
  EXPECT_TRUE(table_.TryShare(id));
  EXPECT_EQ(table_.Load(id).checksum, ~9u) << "the count is beside the checksum";
}

TEST_F(SwapDescTableDeathTest, SharingWhatNobodyNamesEndsTheDaemon) {
  const SwapId id = *table_.Allocate(DescOf(1));
  table_.Retire(id);
  EXPECT_DEATH(table_.TryShare(id), "nobody names");
  EXPECT_DEATH(table_.Retire(id), "nobody names");
}

TEST_F(SwapDescTableTest, MovedContentHasTheSameIdAndAnotherGeneration) {
  const SwapId id = *table_.Allocate({SwapLocation::InPool(Codec::kLz4, 1234, {99}), 0xcafe});
  const SwapLocation before = table_.Load(id).location;
  EXPECT_TRUE(table_.TryRelocate(id, before, SwapLocation::InPool(Codec::kLz4, 1234, {100})));
  const SwapDesc moved = table_.Load(id);
  EXPECT_EQ(moved.location.pool_handle(), PoolHandle{100});
  EXPECT_NE(moved.location.generation(), before.generation());
  EXPECT_EQ(moved.checksum, 0xcafeu);
}

TEST_F(SwapDescTableTest, ContentThatIsElsewhereByNowIsNotMoved) {
  const SwapId id = *table_.Allocate({SwapLocation::InPool(Codec::kLz4, 1234, {99}), 0});
  const SwapLocation before = table_.Load(id).location;
  const auto to = SwapLocation::InPool(Codec::kLz4, 1234, {100});
  ASSERT_TRUE(table_.TryRelocate(id, before, to));
  EXPECT_FALSE(table_.TryRelocate(id, before, SwapLocation::InPool(Codec::kLz4, 1234, {7})));
  // Back where it was is not what it was.
  ASSERT_TRUE(table_.TryRelocate(id, table_.Load(id).location, before));
  EXPECT_FALSE(table_.TryRelocate(id, before, to));
}

// Faults retire from two threads while reclaim reaps and allocates: an oracle follows each id.
TEST(SwapDescTableRace, NoRetiredRecordIsLostOrFreedTwice) {
  constexpr uint32_t kCapacity = 5000;
  constexpr int kRetirers = 3;
  constexpr int kRounds = 20;
  std::vector<uint64_t> memory(SwapDescTable::BytesFor(kCapacity) / 8);
  SwapDescTable table(reinterpret_cast<std::byte*>(memory.data()), kCapacity);
  uint32_t next_value = 0;
  std::set<uint32_t> live;  // values allocated and not reaped yet
  const auto reap = [&] {
    table.Reap([&](SwapId, SwapLocation location) {
      EXPECT_EQ(live.erase(location.same_filled_value()), 1u) << "freed twice, or never stored";
      return true;
    });
  };
  for (int round = 0; round < kRounds; ++round) {
    std::vector<std::vector<SwapId>> shares(kRetirers);
    for (uint32_t i = 0; const auto id = table.Allocate(DescOf(next_value)); ++i) {
      live.insert(next_value++);
      shares[i % kRetirers].push_back(*id);
    }
    std::latch go(kRetirers + 1);
    std::vector<std::jthread> threads;
    for (const std::vector<SwapId>& share : shares) {
      threads.emplace_back([&table, &share, &go] {
        go.arrive_and_wait();
        for (const SwapId id : share) table.Retire(id);
      });
    }
    go.arrive_and_wait();
    for (int i = 0; i < 5; ++i) reap();
    threads.clear();  // joins
    reap();
    ASSERT_TRUE(live.empty()) << live.size() << " records lost in round " << round;
  }
  EXPECT_EQ(next_value, kCapacity * kRounds) << "every id came back every time";
}

// Random allocation, sharing, retiring and reaping against an oracle of what is in use.
TEST(SwapDescTableRandom, IdsInUseAreDistinctAndKeepTheirContent) {
  constexpr uint32_t kCapacity = 64;
  constexpr unsigned kSeed = 20240607;
  SCOPED_TRACE(testing::Message() << "seed " << kSeed);
  std::mt19937 random(kSeed);
  std::vector<uint64_t> memory(SwapDescTable::BytesFor(kCapacity) / 8);
  SwapDescTable table(reinterpret_cast<std::byte*>(memory.data()), kCapacity);
  std::vector<std::pair<SwapId, uint32_t>> live;  // one for each page
  std::map<SwapId, uint32_t> pages;               // that name the id
  std::set<SwapId> retired;
  for (uint32_t step = 0; step < 20000; ++step) {
    const unsigned choice = random() % 100;
    if (choice < 45) {
      const auto id = table.Allocate(DescOf(step));
      ASSERT_EQ(id.has_value(), pages.size() + retired.size() < kCapacity);
      if (!id) continue;
      ASSERT_EQ(retired.count(*id), 0u) << "reused before it was reaped";
      ASSERT_EQ(pages.count(*id), 0u);
      live.emplace_back(*id, step);
      pages[*id] = 1;
    } else if (choice < 55 && !live.empty()) {
      live.push_back(live[random() % live.size()]);
      ASSERT_TRUE(table.TryShare(live.back().first));
      ++pages[live.back().first];
    } else if (choice < 95 && !live.empty()) {
      std::swap(live[random() % live.size()], live.back());
      const auto [id, value] = live.back();
      ASSERT_EQ(table.Load(id).location.same_filled_value(), value);
      ASSERT_EQ(table.Load(id).checksum, ~value);
      ASSERT_EQ(table.References(id), pages[id]);
      table.Retire(id);
      live.pop_back();
      if (--pages[id] > 0) continue;
      pages.erase(id);
      retired.insert(id);
    } else {
      size_t freed = 0;
      table.Reap([&](SwapId, SwapLocation) {
        ++freed;
        return true;
      });
      ASSERT_EQ(freed, retired.size());
      retired.clear();
    }
  }
}

}  // namespace
}  // namespace ebb
