// SPDX-License-Identifier: MIT
#include "hostd/tiers/disk/disk_blocks.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <random>
#include <set>
#include <vector>

#include "hostd/base/units.h"
#include "hostd/tiers/disk/block_format.h"

namespace ebb {
namespace {

constexpr uint32_t kUsable = kSegmentBlocks - 1;

uint64_t DiskOf(uint64_t segments) { return PagesToBytes(kSegmentBlocks * (segments + 1)); }

void FreeRaw(DiskBlocks* blocks, uint32_t block) { blocks->Free({0, block, 0}, kDiskBlockBytes); }

// Allocates until there is nothing more, runs of `max_blocks`, and has a raw page in each block.
std::vector<uint32_t> FillWithRaw(DiskBlocks* blocks, uint32_t max_blocks) {
  std::vector<uint32_t> all;
  while (const auto run = blocks->Allocate(max_blocks)) {
    for (uint32_t i = 0; i < run->count; ++i) all.push_back(run->first_block + i);
  }
  for (const uint32_t block : all) blocks->Settle(block, kDiskBlockBytes);
  return all;
}

class DiskBlocksTest : public testing::Test {
 protected:
  SegmentSpace space_{DiskOf(8)};
  DiskBlocks blocks_{&space_};
};

TEST_F(DiskBlocksTest, OwnerOfNothingHasNoSegments) {
  EXPECT_EQ(blocks_.segments(), 0u);
  EXPECT_EQ(blocks_.used_blocks(), 0u);
  EXPECT_EQ(space_.free_segments(), 8u);
  EXPECT_FALSE(blocks_.NextSparse(kDiskBlockBytes));
}

TEST_F(DiskBlocksTest, DiskIsFilledToItsLastBlock) {
  for (const uint32_t max_blocks : {1u, 7u, 64u, 1000u}) {
    DiskBlocks blocks(&space_);
    const std::vector<uint32_t> all = FillWithRaw(&blocks, max_blocks);
    const std::set<uint32_t> different(all.begin(), all.end());
    EXPECT_EQ(different.size(), 8 * kUsable) << "runs of " << max_blocks;
    EXPECT_EQ(all.size(), different.size());
    for (const uint32_t block : all) {
      EXPECT_NE(block % kSegmentBlocks, 0u) << "the first of a segment";
      EXPECT_GE(block, kSegmentBlocks) << "of the header";
      EXPECT_LT(block, DiskOf(8) / kDiskBlockBytes);
    }
    EXPECT_EQ(blocks.live_bytes(), PagesToBytes(8 * kUsable));
    FreeRaw(&blocks, all[100]);
    const auto again = blocks.Allocate(max_blocks);
    ASSERT_TRUE(again);
    EXPECT_EQ(again->first_block, all[100]);
    EXPECT_EQ(again->count, 1u);
    blocks.Settle(all[100], 0);
  }
}

TEST_F(DiskBlocksTest, EmptyDiskGivesRunsAsLongAsAskedFor) {
  for (const uint32_t max_blocks : {1u, 63u, 64u, 65u, 200u, kUsable}) {
    DiskBlocks blocks(&space_);
    const auto run = blocks.Allocate(max_blocks);
    ASSERT_TRUE(run);
    EXPECT_EQ(run->count, max_blocks);
    for (uint32_t i = 0; i < run->count; ++i) blocks.Settle(run->first_block + i, 0);
  }
}

TEST_F(DiskBlocksTest, LongRunIsPreferredToManyHolesOfOneBlock) {
  std::vector<uint32_t> all;
  while (all.size() < kUsable) {
    all.push_back(blocks_.Allocate(1)->first_block);
    blocks_.Settle(all.back(), kDiskBlockBytes);
  }
  for (uint32_t i = 0; i < 100; i += 2) FreeRaw(&blocks_, all[i]);
  for (uint32_t i = 201; i < 217; ++i) FreeRaw(&blocks_, all[i]);
  const auto run = blocks_.Allocate(10);
  ASSERT_TRUE(run);
  EXPECT_EQ(run->first_block, all[201]);
  EXPECT_EQ(run->count, 10u);
  for (uint32_t i = 0; i < run->count; ++i) blocks_.Settle(run->first_block + i, 0);
}

TEST_F(DiskBlocksTest, BlockIsFreeWhenItsLastObjectIs) {
  const uint32_t block = blocks_.Allocate(1)->first_block;
  blocks_.Settle(block, DiskBlocks::LiveBytes(1000) + DiskBlocks::LiveBytes(1));
  EXPECT_EQ(blocks_.live_bytes(), 1008u + 16u);
  blocks_.Free({0, block, 3072}, 1000);
  EXPECT_EQ(blocks_.used_blocks(), 1u);
  EXPECT_EQ(blocks_.live_bytes(), 16u);
  blocks_.Free({0, block, 4080}, 1);
  EXPECT_EQ(blocks_.used_blocks(), 0u);
  EXPECT_EQ(blocks_.live_bytes(), 0u);
}

TEST_F(DiskBlocksTest, BlockThatWasNotWrittenIsFree) {
  const auto run = blocks_.Allocate(3);
  for (uint32_t i = 0; i < 3; ++i) blocks_.Settle(run->first_block + i, 0);
  EXPECT_EQ(blocks_.used_blocks(), 0u);
}

TEST_F(DiskBlocksTest, OneEmptySegmentIsKeptAndOthersGoBack) {
  const std::vector<uint32_t> all = FillWithRaw(&blocks_, 16);
  EXPECT_EQ(space_.free_segments(), 0u);
  for (size_t i = 0; i < all.size(); ++i) {
    FreeRaw(&blocks_, all[i]);
    const uint64_t emptied = (i + 1) / kUsable;
    ASSERT_EQ(space_.free_segments(), emptied > 0 ? emptied - 1 : 0) << i;
  }
  EXPECT_EQ(blocks_.segments(), 1u);
}

TEST_F(DiskBlocksTest, OwnerAtTheEdgeOfASegmentKeepsIt) {
  const uint32_t first = blocks_.Allocate(1)->first_block;
  blocks_.Settle(first, 0);
  DiskBlocks other(&space_);
  FillWithRaw(&other, 64);
  const auto run = blocks_.Allocate(1);
  ASSERT_TRUE(run) << "the segment was given away";
  blocks_.Settle(run->first_block, 0);
}

// A segment that is a quarter free is filled up before a fresh one is begun; one with fewer free
// blocks only when the disk is full.
TEST_F(DiskBlocksTest, SegmentsWithManyFreeBlocksAreFilledBeforeFreshOnesAreTaken) {
  std::vector<uint32_t> all;
  while (all.size() < 4 * kUsable) {
    all.push_back(blocks_.Allocate(1)->first_block);
    blocks_.Settle(all.back(), kDiskBlockBytes);
  }
  for (uint32_t i = 0; i < 63; ++i) FreeRaw(&blocks_, all[i]);
  for (uint32_t i = 0; i < 64; ++i) FreeRaw(&blocks_, all[kUsable + i]);
  const auto segments_of = [&](uint32_t blocks) {
    std::set<uint32_t> segments;
    for (uint32_t i = 0; i < blocks; ++i) {
      const uint32_t block = blocks_.Allocate(1)->first_block;
      blocks_.Settle(block, kDiskBlockBytes);
      segments.insert(block / kSegmentBlocks);
    }
    return segments;
  };
  EXPECT_EQ(segments_of(64), std::set<uint32_t>{all[kUsable] / kSegmentBlocks});
  EXPECT_EQ(blocks_.segments(), 4u);
  segments_of(4 * kUsable);
  EXPECT_EQ(blocks_.segments(), 8u);
  EXPECT_EQ(segments_of(63), std::set<uint32_t>{all[0] / kSegmentBlocks});
  EXPECT_FALSE(blocks_.Allocate(1));
}

TEST_F(DiskBlocksTest, ReleaseTellsOfAllSegmentsAndGivesNoneBackItself) {
  const auto run = blocks_.Allocate(100);
  blocks_.Settle(run->first_block, 160);
  FillWithRaw(&blocks_, 100);
  const std::vector<uint32_t> segments = blocks_.ReleaseAll();
  EXPECT_EQ(std::set<uint32_t>(segments.begin(), segments.end()).size(), 8u);
  EXPECT_EQ(space_.free_segments(), 0u);
  EXPECT_EQ(blocks_.segments(), 0u);
  EXPECT_EQ(blocks_.used_blocks(), 0u);
  EXPECT_EQ(blocks_.live_bytes(), 0u);
  EXPECT_FALSE(blocks_.NextSparse(kDiskBlockBytes));
  EXPECT_FALSE(blocks_.Allocate(1)) << "nobody has given them back yet";
  space_.GiveBack(segments);
  EXPECT_EQ(FillWithRaw(&blocks_, 100).size(), 8 * kUsable);
}

TEST_F(DiskBlocksTest, SparseBlocksAreFoundInTurnAndFullOnesNot) {
  std::set<uint32_t> sparse;
  for (uint32_t i = 0; i < 3 * kUsable; ++i) {
    const uint32_t block = blocks_.Allocate(1)->first_block;
    const bool is_sparse = i % 50 == 7;
    blocks_.Settle(block, is_sparse ? 1600 : 1616);
    if (is_sparse) sparse.insert(block);
  }
  const auto writing = blocks_.Allocate(1);
  std::set<uint32_t> found;
  for (size_t i = 0; i < sparse.size(); ++i) found.insert(*blocks_.NextSparse(1600));
  EXPECT_EQ(found, sparse);
  EXPECT_TRUE(sparse.contains(*blocks_.NextSparse(1615))) << "and round again";
  EXPECT_FALSE(blocks_.NextSparse(1599));
  blocks_.Settle(writing->first_block, 0);
}

TEST_F(DiskBlocksTest, OnlySparseBlockIsFoundEveryTime) {
  const auto run = blocks_.Allocate(3);
  for (uint32_t i = 0; i < 3; ++i) {
    blocks_.Settle(run->first_block + i, i == 1 ? 16 : kDiskBlockBytes);
  }
  for (int round = 0; round < 3; ++round) {
    EXPECT_EQ(blocks_.NextSparse(2000), run->first_block + 1) << "round " << round;
  }
}

TEST_F(DiskBlocksTest, BookkeepingTakesTwoBytesABlock) {
  SegmentSpace space(DiskOf(1000));
  DiskBlocks blocks(&space);
  const uint64_t count = FillWithRaw(&blocks, 64).size();
  EXPECT_LE(blocks.bookkeeping_bytes(), 2 * count);
}

// ---- Random lives of blocks, beside a plain model
// --------------------------------------------------

struct LiveObject {
  uint32_t block;
  uint32_t bytes;
};

// Of all owners: no block may be anybody else's.
using TakenBlocks = std::set<uint32_t>;

class ModelOwner {
 public:
  ModelOwner(SegmentSpace* space, TakenBlocks* taken) : blocks_(space), taken_(taken) {}
  // As if its VM went: all that is being written has ended.
  ~ModelOwner() {
    while (!writing_.empty()) SettleOne(writing_.size() - 1, {});
    for (const LiveObject& object : objects_) taken_->erase(object.block);
  }

  bool Allocate(uint32_t max_blocks) {
    const auto run = blocks_.Allocate(max_blocks);
    if (!run) return false;
    EXPECT_GE(run->count, 1u);
    EXPECT_LE(run->count, max_blocks);
    for (uint32_t i = 0; i < run->count; ++i) {
      const uint32_t block = run->first_block + i;
      EXPECT_NE(block % kSegmentBlocks, 0u);
      EXPECT_TRUE(taken_->insert(block).second) << "block " << block << " is somebody's";
      writing_.push_back(block);
    }
    return true;
  }
  void Settle(std::mt19937* random) {
    std::vector<uint32_t> sizes;
    if ((*random)() % 8 == 0) {
      sizes = {kDiskBlockBytes};
    } else if ((*random)() % 8 != 0) {
      uint32_t left = BlockWriter::kCapacityBytes;
      for (;;) {
        const auto bytes = static_cast<uint32_t>(1 + (*random)() % 3072);
        if (BlockWriter::Needs(bytes) > left) break;
        left -= BlockWriter::Needs(bytes);
        sizes.push_back(bytes);
      }
    }
    SettleOne((*random)() % writing_.size(), sizes);
  }
  void FreeOne(size_t at) {
    const LiveObject object = objects_[at];
    objects_[at] = objects_.back();
    objects_.pop_back();
    blocks_.Free({0, object.block, 0}, object.bytes);
    live_bytes_ -= DiskBlocks::LiveBytes(object.bytes);
    if (BytesIn(object.block) == 0) taken_->erase(object.block);
  }
  void LookForSparse(uint32_t max_live_bytes) {
    const auto found = blocks_.NextSparse(max_live_bytes);
    if (found) {
      EXPECT_GT(BytesIn(*found), 0u);
      EXPECT_LE(BytesIn(*found), max_live_bytes);
    } else {
      for (const LiveObject& object : objects_) EXPECT_GT(BytesIn(object.block), max_live_bytes);
    }
  }
  void ExpectCounts() const {
    std::set<uint32_t> used(writing_.begin(), writing_.end());
    for (const LiveObject& object : objects_) used.insert(object.block);
    std::set<uint32_t> segments;
    for (const uint32_t block : used) segments.insert(block / kSegmentBlocks);
    EXPECT_EQ(blocks_.used_blocks(), used.size());
    EXPECT_EQ(blocks_.live_bytes(), live_bytes_);
    EXPECT_GE(blocks_.segments(), segments.size());
    EXPECT_LE(blocks_.segments(), segments.size() + 1) << "more than one is empty";
  }
  size_t objects() const { return objects_.size(); }
  size_t writing() const { return writing_.size(); }
  uint64_t segments() const { return blocks_.segments(); }

 private:
  void SettleOne(size_t at, const std::vector<uint32_t>& sizes) {
    const uint32_t block = writing_[at];
    writing_[at] = writing_.back();
    writing_.pop_back();
    uint32_t live = 0;
    for (const uint32_t bytes : sizes) {
      objects_.push_back({block, bytes});
      live += DiskBlocks::LiveBytes(bytes);
    }
    blocks_.Settle(block, live);
    live_bytes_ += live;
    if (live == 0) taken_->erase(block);
  }
  uint32_t BytesIn(uint32_t block) const {
    uint32_t bytes = 0;
    for (const LiveObject& object : objects_) {
      if (object.block == block) bytes += DiskBlocks::LiveBytes(object.bytes);
    }
    return bytes;
  }

  DiskBlocks blocks_;
  TakenBlocks* taken_;
  std::vector<uint32_t> writing_;
  std::vector<LiveObject> objects_;
  uint64_t live_bytes_ = 0;
};

// Fills and empties in waves, so that segments come and go.
void LiveRandomly(unsigned seed, int* full) {
  std::mt19937 random(seed);
  SegmentSpace space(DiskOf(5));
  TakenBlocks taken;
  std::vector<std::unique_ptr<ModelOwner>> owners(3);
  for (auto& owner : owners) owner = std::make_unique<ModelOwner>(&space, &taken);
  for (int step = 0; step < 6000 && !testing::Test::HasFailure(); ++step) {
    auto& owner = owners[random() % owners.size()];
    const uint32_t filling = step / 1000 % 2 == 0 ? 70 : 5;
    if (random() % 1500 == 0) {
      owner = std::make_unique<ModelOwner>(&space, &taken);
    } else if (random() % 100 < filling && owner->writing() < 200) {
      if (!owner->Allocate(static_cast<uint32_t>(1 + random() % 40))) ++*full;
    }
    for (uint32_t i = random() % 20; i > 0 && owner->writing() > 0; --i) owner->Settle(&random);
    for (uint32_t i = random() % (filling > 50 ? 4 : 60); i > 0 && owner->objects() > 0; --i) {
      owner->FreeOne(random() % owner->objects());
    }
    if (step % 100 != 0) continue;
    owner->LookForSparse(static_cast<uint32_t>(random() % (kDiskBlockBytes + 1)));
    uint64_t segments = 0;
    for (const auto& each : owners) {
      each->ExpectCounts();
      segments += each->segments();
    }
    EXPECT_EQ(space.free_segments() + segments, space.segments());
  }
  owners.clear();
  EXPECT_TRUE(taken.empty());
  EXPECT_EQ(space.free_segments(), space.segments());
}

TEST(DiskBlocksModel, RandomLivesOfBlocksAreAsInAPlainModel) {
  int full = 0;
  for (unsigned seed = 1; seed <= 5 && !HasFailure(); ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    LiveRandomly(seed, &full);
  }
  EXPECT_GT(full, 0) << "the disk was never full";
}

// ---- What could give a guest wrong bytes
// -----------------------------------------------------------

class DiskBlocksDeathTest : public DiskBlocksTest {
 protected:
  uint32_t Written(uint32_t live_bytes) {
    const uint32_t block = blocks_.Allocate(1)->first_block;
    blocks_.Settle(block, live_bytes);
    return block;
  }
};

TEST_F(DiskBlocksDeathTest, FreeingInABlockThatIsBeingWrittenEndsTheDaemon) {
  const auto run = blocks_.Allocate(1);
  EXPECT_DEATH(blocks_.Free({0, run->first_block, 0}, 16), "more of a block than is live");
  blocks_.Settle(run->first_block, 0);
}

TEST_F(DiskBlocksDeathTest, FreeingMoreThanIsLiveEndsTheDaemon) {
  const uint32_t block = Written(160);
  EXPECT_DEATH(blocks_.Free({0, block, 0}, 161), "more of a block than is live");
  blocks_.Free({0, block, 0}, 160);
  EXPECT_DEATH(blocks_.Free({0, block, 0}, 160), "more of a block than is live") << "twice";
  const uint32_t raw = Written(kDiskBlockBytes);
  EXPECT_DEATH(blocks_.Free({0, raw, 0}, 160), "part of a page");
  EXPECT_DEATH(blocks_.Free({0, raw, 0}, kDiskBlockBytes + 1), "impossible size");
  EXPECT_DEATH(blocks_.Free({0, raw, 0}, 0), "impossible size");
}

TEST_F(DiskBlocksDeathTest, BlockOfSomebodyElseEndsTheDaemon) {
  DiskBlocks other(&space_);
  const uint32_t block = other.Allocate(1)->first_block;
  EXPECT_DEATH(blocks_.Settle(block, 16), "somebody else");
  other.Settle(block, 16);
  EXPECT_DEATH(blocks_.Free({0, block, 0}, 16), "somebody else");
}

TEST_F(DiskBlocksDeathTest, SettlingWhatIsNotBeingWrittenEndsTheDaemon) {
  const uint32_t block = Written(160);
  EXPECT_DEATH(blocks_.Settle(block, 160), "not being written");
  EXPECT_DEATH(blocks_.Settle(block + 1, 160), "not being written") << "a free one";
  EXPECT_DEATH(blocks_.Settle(block / kSegmentBlocks * kSegmentBlocks, 160), "not being written")
      << "the first of a segment";
}

TEST_F(DiskBlocksDeathTest, LiveBytesThatNoBlockCanHaveEndTheDaemon) {
  const uint32_t block = blocks_.Allocate(1)->first_block;
  EXPECT_DEATH(blocks_.Settle(block, 4080), "more live bytes");
  EXPECT_DEATH(blocks_.Settle(block, 2 * kDiskBlockBytes), "more live bytes");
  EXPECT_DEATH(blocks_.Settle(block, 17), "no sum");
  blocks_.Settle(block, 0);
}

TEST_F(DiskBlocksDeathTest, OwnerThatGoesWhileBlocksAreBeingWrittenEndsTheDaemon) {
  EXPECT_DEATH(
      {
        DiskBlocks blocks(&space_);
        blocks.Allocate(1);
      },
      "being written");
}

}  // namespace
}  // namespace ebb
