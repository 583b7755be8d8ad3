// SPDX-License-Identifier: MIT
#include "hostd/tiers/disk/pack_blocks.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <numeric>
#include <random>
#include <vector>

#include "hostd/tiers/disk/block_format.h"

namespace ebb {
namespace {

uint32_t BlocksOf(const std::vector<uint32_t>& block_of) {
  return block_of.empty() ? 0 : *std::max_element(block_of.begin(), block_of.end()) + 1;
}

// A block for each object, all numbers in use, and what goes into a block fits into one.
void ExpectFits(const std::vector<uint32_t>& object_bytes, const std::vector<uint32_t>& block_of) {
  ASSERT_EQ(block_of.size(), object_bytes.size());
  std::vector<uint32_t> needs(BlocksOf(block_of));
  for (size_t i = 0; i < object_bytes.size(); ++i) {
    needs[block_of[i]] += BlockWriter::Needs(object_bytes[i]);
  }
  for (size_t block = 0; block < needs.size(); ++block) {
    EXPECT_GT(needs[block], 0u) << "nothing in block " << block;
    EXPECT_LE(needs[block], BlockWriter::kCapacityBytes) << "too much in block " << block;
  }
}

TEST(PackBlocks, NothingNeedsNoBlock) { EXPECT_TRUE(PackBlocks({}).empty()); }

TEST(PackBlocks, LargestObjectsHaveABlockEach) {
  const std::vector<uint32_t> objects(5, BlockWriter::kMaxObjectBytes);
  ExpectFits(objects, PackBlocks(objects));
  EXPECT_EQ(BlocksOf(PackBlocks(objects)), 5u);
}

TEST(PackBlocks, SmallestObjectsFillBlocksWhole) {
  const std::vector<uint32_t> objects(3 * kMaxBlockMembers, 1);
  ExpectFits(objects, PackBlocks(objects));
  EXPECT_EQ(BlocksOf(PackBlocks(objects)), 3u);
}

// In pairs that are a block exactly; who goes by the order of things finds few of them.
TEST(PackBlocks, WhatFitsTogetherExactlyIsPutTogether) {
  std::vector<uint32_t> objects;
  for (uint32_t bytes = 16; bytes <= 2000; bytes += 32) {
    objects.push_back(bytes);
    // Two places in the index: 4056 - 2 * 8 bytes for the two, whole grains of which are 4032.
    objects.push_back(4032 - bytes);
  }
  constexpr unsigned kSeed = 5;
  SCOPED_TRACE(testing::Message() << "seed " << kSeed);
  std::mt19937 random(kSeed);
  std::shuffle(objects.begin(), objects.end(), random);
  ExpectFits(objects, PackBlocks(objects));
  EXPECT_EQ(BlocksOf(PackBlocks(objects)), objects.size() / 2);
}

TEST(PackBlocks, RandomObjectsFitAndWasteLittle) {
  constexpr unsigned kSeed = 6;
  SCOPED_TRACE(testing::Message() << "seed " << kSeed);
  std::mt19937 random(kSeed);
  for (const uint32_t max_bytes : {100u, 1000u, 2000u, 3072u, BlockWriter::kMaxObjectBytes}) {
    for (int round = 0; round < 20; ++round) {
      std::vector<uint32_t> objects(64 + random() % 449);
      for (uint32_t& bytes : objects) bytes = static_cast<uint32_t>(1 + random() % max_bytes);
      const std::vector<uint32_t> block_of = PackBlocks(objects);
      ExpectFits(objects, block_of);
      if (max_bytes > 3000) continue;  // too many are larger than half a block
      const uint32_t needs =
          std::accumulate(objects.begin(), objects.end(), 0u,
                          [](uint32_t sum, uint32_t b) { return sum + BlockWriter::Needs(b); });
      const uint32_t least =
          (needs + BlockWriter::kCapacityBytes - 1) / BlockWriter::kCapacityBytes;
      EXPECT_LE(BlocksOf(block_of), least + 1 + least / 50) << "of at most " << max_bytes;
    }
  }
}

// What LZ4 makes of guests' pages: shares of 512 bytes each, of those that are stored compressed.
TEST(PackBlocks, ObjectsOfGuestsPagesTakeHalfABlockEach) {
  constexpr std::array<int, 6> kShares = {48, 104, 189, 199, 181, 62};
  constexpr unsigned kSeed = 7;
  SCOPED_TRACE(testing::Message() << "seed " << kSeed);
  std::mt19937 random(kSeed);
  std::discrete_distribution<uint32_t> share(kShares.begin(), kShares.end());
  uint64_t blocks = 0;
  constexpr int kRounds = 50;
  for (int round = 0; round < kRounds; ++round) {
    std::vector<uint32_t> objects(128);
    for (uint32_t& bytes : objects) {
      bytes = 512 * share(random) + 1 + static_cast<uint32_t>(random() % 512);
    }
    const std::vector<uint32_t> block_of = PackBlocks(objects);
    ExpectFits(objects, block_of);
    blocks += BlocksOf(block_of);
  }
  EXPECT_LE(static_cast<double>(blocks) / (kRounds * 128), 0.48);
}

TEST(PackBlocksDeathTest, ObjectLargerThanABlockEndsTheDaemon) {
  const std::vector<uint32_t> objects = {100, BlockWriter::kMaxObjectBytes + 1};
  EXPECT_DEATH(PackBlocks(objects), "larger than a block");
}

}  // namespace
}  // namespace ebb
