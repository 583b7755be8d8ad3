// SPDX-License-Identifier: MIT
#include "hostd/tiers/pool/pool.h"

#include <gtest/gtest.h>

#include <cstring>
#include <optional>
#include <random>
#include <vector>

#include "tests/fakes/page_content.h"
#include "tests/hostd/tiers/pool/fake_pool_memory.h"

namespace ebb {
namespace {

// Room for one slab of each size class, and more.
constexpr uint64_t kPoolBytes = 16 * kMiB;

class PoolTest : public testing::Test {
 protected:
  PageContent Loaded(SwapLocation location) {
    PageContent page;
    page.fill(std::byte{0xaa});
    EXPECT_TRUE(pool_.Load(location, page.data()));
    return page;
  }
  void ExpectEmpty() {
    EXPECT_EQ(pool_.stats().original_bytes, 0u);
    EXPECT_EQ(pool_.stats().compressed_bytes, 0u);
  }

  FakePoolMemory memory_{kPoolBytes};
  Pool pool_{&memory_};
  PageContent page_ = {};
};

using PoolDeathTest = PoolTest;

TEST_F(PoolTest, CompressibleContentIsKeptCompressed) {
  const PageContent content = PartlyRandomContent(1, 1000);
  const auto location = pool_.Store(content.data());
  ASSERT_TRUE(location);
  EXPECT_EQ(location->tier(), TierKind::kPool);
  EXPECT_EQ(location->codec(), Codec::kLz4);
  EXPECT_LT(location->length_bytes(), 1200u);
  EXPECT_EQ(Loaded(*location), content);
}

TEST_F(PoolTest, IncompressibleContentIsKeptRaw) {
  const PageContent content = RandomContent(2);
  const auto location = pool_.Store(content.data());
  ASSERT_TRUE(location);
  EXPECT_EQ(location->codec(), Codec::kRaw);
  EXPECT_EQ(location->length_bytes(), kPageBytes);
  EXPECT_EQ(Loaded(*location), content);
}

TEST_F(PoolTest, ContentThatSavesLessThanAnEighthIsKeptRaw) {
  const auto barely = pool_.Store(PartlyRandomContent(3, 3500).data());
  const auto not_enough = pool_.Store(PartlyRandomContent(3, 3700).data());
  EXPECT_EQ(barely->codec(), Codec::kLz4);
  EXPECT_EQ(not_enough->codec(), Codec::kRaw);
}

TEST_F(PoolTest, ZeroPageIsAShortObject) {
  const auto location = pool_.Store(page_.data());
  ASSERT_TRUE(location);
  EXPECT_LT(location->length_bytes(), 64u);
  EXPECT_EQ(Loaded(*location), page_);
}

TEST_F(PoolTest, ObjectsDoNotDisturbEachOther) {
  std::vector<std::pair<SwapLocation, PageContent>> stored;
  for (uint32_t i = 0; i < 200; ++i) {
    const PageContent content = PartlyRandomContent(i, i * 20);
    const auto location = pool_.Store(content.data());
    ASSERT_TRUE(location);
    stored.emplace_back(*location, content);
  }
  for (const auto& [location, content] : stored) EXPECT_EQ(Loaded(location), content);
}

TEST_F(PoolTest, FullPoolRefusesWithoutCountingAndServesAfterAFree) {
  const PageContent content = RandomContent(5);
  std::vector<SwapLocation> stored;
  while (const auto location = pool_.Store(content.data())) stored.push_back(*location);
  EXPECT_EQ(stored.size(), kPoolBytes / kPageBytes);
  EXPECT_EQ(pool_.stats().original_bytes, kPoolBytes);
  pool_.Free(stored.back());
  stored.pop_back();
  EXPECT_TRUE(pool_.Store(content.data()));
  for (const SwapLocation location : stored) EXPECT_EQ(Loaded(location), content);
}

TEST_F(PoolTest, HostWithoutMemoryRefuses) {
  memory_.SetFull(true);
  EXPECT_FALSE(pool_.Store(RandomContent(6).data()));
  ExpectEmpty();
  EXPECT_EQ(pool_.stats().used_bytes, 0u);
}

TEST_F(PoolTest, StatsFollowWhatIsStored) {
  const auto first = pool_.Store(PartlyRandomContent(7, 500).data());
  const auto second = pool_.Store(RandomContent(8).data());
  EXPECT_EQ(pool_.stats().original_bytes, 2 * kPageBytes);
  EXPECT_EQ(pool_.stats().compressed_bytes, first->length_bytes() + kPageBytes);
  EXPECT_EQ(pool_.stats().used_bytes, memory_.allocated_bytes());
  pool_.Free(*first);
  EXPECT_EQ(pool_.stats().original_bytes, kPageBytes);
  EXPECT_EQ(pool_.stats().compressed_bytes, kPageBytes);
  pool_.Free(*second);
  ExpectEmpty();
}

TEST_F(PoolTest, StatsAddUpToZeroAfterRandomUse) {
  constexpr unsigned kSeed = 31;
  SCOPED_TRACE(testing::Message() << "seed " << kSeed);
  std::mt19937 random(kSeed);
  std::vector<std::pair<SwapLocation, uint32_t>> live;
  for (uint32_t step = 0; step < 4000; ++step) {
    if (live.empty() || random() % 3 != 0) {
      const auto location = pool_.Store(PartlyRandomContent(step, (step * 37) % 4096).data());
      if (location) live.emplace_back(*location, step);
    } else {
      std::swap(live[random() % live.size()], live.back());
      const auto [location, made_of] = live.back();
      ASSERT_EQ(Loaded(location), PartlyRandomContent(made_of, (made_of * 37) % 4096));
      pool_.Free(location);
      live.pop_back();
    }
    ASSERT_EQ(pool_.stats().original_bytes, PagesToBytes(live.size()));
  }
  for (const auto& [location, made_of] : live) pool_.Free(location);
  ExpectEmpty();
}

TEST_F(PoolTest, GenerationOfALocationDoesNotMatterToThePool) {
  const PageContent content = PartlyRandomContent(9, 900);
  const SwapLocation location = pool_.Store(content.data())->WithGeneration(77);
  EXPECT_EQ(Loaded(location), content);
  pool_.Free(location);
  ExpectEmpty();
}

// After a crash a location comes out of memory that was shared: it may say anything.
TEST_F(PoolTest, LocationsThatMakeNoSenseAreRefused) {
  pool_.Store(RandomContent(10).data());
  const uint64_t grains = kPoolBytes / kPoolGrainBytes;
  const auto load = [&](SwapLocation location) { return pool_.Load(location, page_.data()); };
  EXPECT_FALSE(load(SwapLocation::InPool(Codec::kLz4, 0, {0})));
  EXPECT_FALSE(load(SwapLocation::InPool(Codec::kRaw, 4097, {0})));
  EXPECT_FALSE(load(SwapLocation::InPool(Codec::kRaw, 4095, {0}))) << "raw is a whole page";
  EXPECT_FALSE(load(SwapLocation::InPool(Codec::kRaw, 4096, {grains})));
  EXPECT_FALSE(load(SwapLocation::InPool(Codec::kRaw, 4096, {grains - 1}))) << "past the end";
  EXPECT_FALSE(load(SwapLocation::InPool(Codec::kLz4, 1, {(uint64_t{1} << 36) - 1})));
  EXPECT_FALSE(load(SwapLocation::InPool(static_cast<Codec>(9), 4096, {0})));
}

TEST_F(PoolTest, ShortenedObjectIsRefused) {
  const auto location = pool_.Store(PartlyRandomContent(11, 800).data());
  for (uint32_t length = 1; length < location->length_bytes(); ++length) {
    const auto shorter = SwapLocation::InPool(Codec::kLz4, length, location->pool_handle());
    ASSERT_FALSE(pool_.Load(shorter, page_.data())) << length;
  }
}

TEST_F(PoolDeathTest, FreeOfWhatIsNotInThePoolEndsTheDaemon) {
  EXPECT_DEATH(pool_.Free(SwapLocation::SameFilled(0)), "not in the pool");
  EXPECT_DEATH(pool_.Free(SwapLocation()), "not in the pool");
}

TEST_F(PoolDeathTest, DoubleFreeEndsTheDaemon) {
  const auto location = pool_.Store(RandomContent(12).data());
  pool_.Free(*location);
  EXPECT_DEATH(pool_.Free(*location), "not allocated");
}

}  // namespace
}  // namespace ebb
