// SPDX-License-Identifier: MIT
#include "hostd/tiers/disk/segment_space.h"

#include <gtest/gtest.h>

#include <atomic>
#include <set>
#include <thread>
#include <vector>

#include "hostd/base/units.h"

namespace ebb {
namespace {

constexpr uint64_t kSegmentBytes = kSegmentBlocks * kPageBytes;

TEST(SegmentSpace, EveryWholeSegmentButTheFirstIsHandedOutOnce) {
  SegmentSpace space(10 * kSegmentBytes + kSegmentBytes - 1);
  EXPECT_EQ(space.segments(), 9u);
  std::set<uint32_t> taken;
  while (const auto segment = space.Take()) {
    EXPECT_TRUE(taken.insert(*segment).second) << *segment;
    EXPECT_EQ(space.free_segments(), 9 - taken.size());
  }
  EXPECT_EQ(taken.size(), 9u);
  EXPECT_EQ(*taken.begin(), 1u) << "segment 0 is the header's";
  EXPECT_EQ(*taken.rbegin(), 9u);
}

TEST(SegmentSpace, WhatIsGivenBackIsHandedOutAgain) {
  SegmentSpace space(4 * kSegmentBytes);
  const std::vector<uint32_t> all = {*space.Take(), *space.Take(), *space.Take()};
  EXPECT_FALSE(space.Take());
  space.GiveBack(all);
  EXPECT_EQ(space.free_segments(), 3u);
  const std::set<uint32_t> again = {*space.Take(), *space.Take(), *space.Take()};
  EXPECT_EQ(again, std::set<uint32_t>(all.begin(), all.end()));
  EXPECT_FALSE(space.Take());
}

TEST(SegmentSpace, DiskWithRoomForItsHeaderOnlyHasNone) {
  for (const uint64_t bytes : {uint64_t{0}, kPageBytes, kSegmentBytes, 2 * kSegmentBytes - 1}) {
    SegmentSpace space(bytes);
    EXPECT_EQ(space.segments(), 0u) << bytes;
    EXPECT_EQ(space.free_segments(), 0u) << bytes;
    EXPECT_FALSE(space.Take()) << bytes;
  }
}

// A record has 30 bits for a block.
TEST(SegmentSpace, NoBlockIsPastWhatARecordCanName) {
  const uint64_t most = (uint64_t{1} << 30) / kSegmentBlocks - 1;
  EXPECT_EQ(SegmentSpace(uint64_t{4} << 40).segments(), most);
  EXPECT_EQ(SegmentSpace(UINT64_MAX).segments(), most);
}

TEST(SegmentSpace, ThreadsNeverHaveTheSameSegment) {
  constexpr int kThreads = 4;
  SegmentSpace space(64 * kSegmentBytes);
  std::vector<std::atomic<int>> owners(64);
  std::atomic<bool> shared = false;
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      for (int round = 0; round < 300; ++round) {
        std::vector<uint32_t> mine;
        for (int j = 0; j < 20; ++j) {
          const auto segment = space.Take();
          if (!segment) break;
          if (owners[*segment].fetch_add(1) != 0) shared = true;
          mine.push_back(*segment);
        }
        for (const uint32_t segment : mine) owners[segment].fetch_sub(1);
        space.GiveBack(mine);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_FALSE(shared);
  EXPECT_EQ(space.free_segments(), 63u);
}

TEST(SegmentSpaceDeathTest, GivingBackWhatNobodyHasEndsTheDaemon) {
  SegmentSpace space(4 * kSegmentBytes);
  const uint32_t taken = *space.Take();
  const auto give_back = [&](uint32_t segment) { space.GiveBack({&segment, 1}); };
  EXPECT_DEATH(give_back(0), "nobody has");
  EXPECT_DEATH(give_back(taken + 1), "nobody has");
  EXPECT_DEATH(give_back(1000), "nobody has");
  give_back(taken);
  EXPECT_DEATH(give_back(taken), "nobody has");
}

}  // namespace
}  // namespace ebb
