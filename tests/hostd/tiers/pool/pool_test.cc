// SPDX-License-Identifier: MIT
#include "hostd/tiers/pool/pool.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <optional>
#include <random>
#include <vector>

#include "hostd/page/swap_desc.h"
#include "tests/hostd/tiers/pool/fake_pool_memory.h"

namespace ebb {
namespace {

constexpr uint64_t kPoolBytes = 4 * kMiB;

std::vector<std::byte> ObjectOf(uint32_t seed, size_t bytes) {
  std::mt19937 random(seed);
  std::vector<std::byte> object(bytes);
  for (std::byte& byte : object) byte = static_cast<std::byte>(random());
  return object;
}

class PoolTest : public testing::Test {
 protected:
  std::vector<std::byte> Read(PoolHandle handle, uint32_t bytes) const {
    const std::span<const std::byte> object = pool_.Object(handle, bytes);
    return {object.begin(), object.end()};
  }

  FakePoolMemory memory_{kPoolBytes};
  Pool pool_{&memory_};
};

using PoolDeathTest = PoolTest;

TEST_F(PoolTest, ObjectsOfAllSizesComeBackAndDoNotDisturbEachOther) {
  std::vector<PoolHandle> handles;
  for (uint32_t bytes = 1; bytes <= SpanAllocator::kMaxObjectBytes; bytes += 7) {
    handles.push_back(*pool_.Store(ObjectOf(bytes, bytes)));
  }
  for (uint32_t i = 0, bytes = 1; i < handles.size(); ++i, bytes += 7) {
    ASSERT_EQ(Read(handles[i], bytes), ObjectOf(bytes, bytes));
  }
}

TEST_F(PoolTest, FullPoolRefusesWithoutCountingAndServesAfterAFree) {
  const std::vector<std::byte> object = ObjectOf(5, 3000);
  std::vector<PoolHandle> stored;
  while (const auto handle = pool_.Store(object)) stored.push_back(*handle);
  EXPECT_EQ(pool_.stats().objects, stored.size());
  EXPECT_EQ(pool_.stats().object_bytes, stored.size() * 3000);
  pool_.Free(stored.back(), 3000);
  stored.pop_back();
  EXPECT_TRUE(pool_.Store(object));
  for (const PoolHandle handle : stored) ASSERT_EQ(Read(handle, 3000), object);
}

TEST_F(PoolTest, HostWithoutMemoryRefuses) {
  memory_.SetFull(true);
  EXPECT_FALSE(pool_.Store(ObjectOf(6, 100)));
  EXPECT_EQ(pool_.stats().objects, 0u);
  EXPECT_EQ(pool_.stats().used_bytes, 0u);
}

TEST_F(PoolTest, StatsFollowWhatIsStored) {
  const PoolHandle first = *pool_.Store(ObjectOf(7, 500));
  const PoolHandle second = *pool_.Store(ObjectOf(8, 2500));
  EXPECT_EQ(pool_.stats().objects, 2u);
  EXPECT_EQ(pool_.stats().object_bytes, 3000u);
  EXPECT_EQ(pool_.stats().used_bytes, memory_.allocated_bytes());
  pool_.Free(first, 500);
  pool_.Free(second, 2500);
  EXPECT_EQ(pool_.stats().objects, 0u);
  EXPECT_EQ(pool_.stats().object_bytes, 0u);
  EXPECT_EQ(pool_.stats().used_bytes, memory_.allocated_bytes());
}

TEST_F(PoolTest, MovedObjectsAreTheSameElsewhereInLessMemory) {
  std::map<uint32_t, PoolHandle> live;
  for (uint32_t owner = 1; owner <= 1500; ++owner) {
    live[owner] = *pool_.Store(ObjectOf(owner, 1000));
    pool_.SetOwner(live[owner], {owner});
  }
  for (uint32_t owner = 1; owner <= 1500; ++owner) {
    if (owner % 3 == 0) continue;
    pool_.Free(live[owner], 1000);
    live.erase(owner);
  }
  const uint64_t before = pool_.stats().used_bytes;
  while (pool_.MoveSome(100, [&](PageIndex owner, PoolHandle, PoolHandle to) {
    live.at(static_cast<uint32_t>(owner.value)) = to;
    return true;
  })) {
    ASSERT_TRUE(pool_.has_moved());
    pool_.FreeMoved();
  }
  EXPECT_LT(pool_.stats().used_bytes, before / 2);
  EXPECT_EQ(pool_.stats().used_bytes, memory_.allocated_bytes());
  EXPECT_GT(pool_.stats().moved_bytes, 0u);
  for (const auto& [owner, handle] : live) ASSERT_EQ(Read(handle, 1000), ObjectOf(owner, 1000));
}

// After a crash a location comes out of memory that was shared: it may say anything.
TEST_F(PoolTest, LocationsOutsideThePoolAreEmpty) {
  const uint64_t grains = kPoolBytes / kPoolGrainBytes;
  EXPECT_TRUE(pool_.Object({grains}, 100).empty());
  EXPECT_TRUE(pool_.Object({grains - 1}, 100).empty()) << "past the end";
  EXPECT_TRUE(pool_.Object({(uint64_t{1} << SwapLocation::kPoolHandleBits) - 1}, 1).empty());
  EXPECT_TRUE(pool_.Object({0}, UINT32_MAX).empty());
  EXPECT_FALSE(pool_.Object({grains - 1}, 12).empty());
}

TEST_F(PoolDeathTest, DoubleFreeEndsTheDaemon) {
  const PoolHandle kept = *pool_.Store(ObjectOf(1, 1000));
  const PoolHandle freed = *pool_.Store(ObjectOf(2, 1000));
  pool_.Free(freed, 1000);
  EXPECT_DEATH(pool_.Free(freed, 1000), "not allocated");
  pool_.Free(kept, 1000);
}

}  // namespace
}  // namespace ebb
