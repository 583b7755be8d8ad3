// SPDX-License-Identifier: MIT
#include "hostd/tiers/disk/block_format.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <random>
#include <vector>

namespace ebb {
namespace {

using ObjectBytes = std::vector<std::byte>;

// Two neighbouring numbers never give the same bytes.
ObjectBytes SomeObject(uint32_t number, size_t bytes) {
  ObjectBytes object(bytes);
  for (size_t i = 0; i < bytes; ++i) object[i] = static_cast<std::byte>(number * 37 + i * 11);
  return object;
}

class BlockFormat : public testing::Test {
 protected:
  std::vector<BlockMember> Read(size_t room = kMaxBlockMembers) const {
    std::vector<BlockMember> members(room);
    members.resize(ReadMembers(ConstDiskBlock(block_), members));
    return members;
  }
  void ExpectBytes(size_t at, std::initializer_list<int> expected) const {
    for (const int byte : expected) {
      EXPECT_EQ(static_cast<int>(block_[at]), byte) << "byte " << at;
      ++at;
    }
  }

  std::array<std::byte, kDiskBlockBytes> block_ = [] {
    std::array<std::byte, kDiskBlockBytes> dirty;
    dirty.fill(std::byte{0xdd});
    return dirty;
  }();
};

// docs/formats/disk.md: a later ebbd reads what an earlier one has written.
TEST_F(BlockFormat, LayoutIsAsDocumented) {
  BlockWriter writer{DiskBlock(block_)};
  ASSERT_EQ(writer.Add({{0x01020304}, {0x11223344}}, SomeObject(1, 1)), 4080);
  ASSERT_EQ(writer.Add({{0xfffffffe}, {2}}, SomeObject(2, 17)), 4048);
  ExpectBytes(0, {'E', 'b', 'B', 'K', 1, 2, 0, 0});
  ExpectBytes(40, {4, 3, 2, 1, 0x44, 0x33, 0x22, 0x11});
  ExpectBytes(48, {0xfe, 0xff, 0xff, 0xff, 2, 0, 0, 0});
  EXPECT_EQ(block_[4080], SomeObject(1, 1)[0]);
  EXPECT_EQ(std::memcmp(&block_[4048], SomeObject(2, 17).data(), 17), 0);
}

TEST_F(BlockFormat, WhatIsNotUsedIsZero) {
  BlockWriter writer{DiskBlock(block_)};
  ASSERT_TRUE(writer.Add({{7}, {8}}, SomeObject(1, 20)));
  const auto zero = [&](size_t begin, size_t end) {
    return std::all_of(block_.begin() + static_cast<ptrdiff_t>(begin),
                       block_.begin() + static_cast<ptrdiff_t>(end),
                       [](std::byte b) { return b == std::byte{0}; });
  };
  EXPECT_TRUE(zero(6, 40)) << "reserved for a nonce and a tag";
  EXPECT_TRUE(zero(48, 4064)) << "between index and objects";
  EXPECT_TRUE(zero(4084, 4096)) << "after an object";
}

TEST_F(BlockFormat, EmptyBlockHasNoMembers) {
  const BlockWriter writer{DiskBlock(block_)};
  EXPECT_EQ(writer.members(), 0u);
  EXPECT_TRUE(Read().empty());
}

TEST_F(BlockFormat, AsManyOfTheSmallestObjectsFitAsItSays) {
  BlockWriter writer{DiskBlock(block_)};
  size_t added = 0;
  while (writer.Add({{added}, {static_cast<uint32_t>(added + 1)}}, SomeObject(1, 1))) ++added;
  EXPECT_EQ(added, kMaxBlockMembers);
  EXPECT_EQ(Read().size(), kMaxBlockMembers);
  EXPECT_EQ(Read(3).size(), 3u) << "room for three";
}

TEST_F(BlockFormat, ObjectsFitExactlyAsNeedsSays) {
  for (uint32_t bytes = 1; bytes <= BlockWriter::kMaxObjectBytes; bytes += 13) {
    BlockWriter writer{DiskBlock(block_)};
    uint32_t left = BlockWriter::kCapacityBytes;
    while (left >= BlockWriter::Needs(bytes)) {
      ASSERT_TRUE(writer.Add({{1}, {1}}, SomeObject(1, bytes))) << bytes;
      left -= BlockWriter::Needs(bytes);
    }
    ASSERT_FALSE(writer.Add({{1}, {1}}, SomeObject(1, bytes))) << bytes;
  }
}

TEST_F(BlockFormat, LargestObjectFitsAloneAndOneByteMoreNever) {
  BlockWriter writer{DiskBlock(block_)};
  EXPECT_FALSE(writer.Add({{1}, {1}}, SomeObject(1, BlockWriter::kMaxObjectBytes + 1)));
  EXPECT_FALSE(writer.Add({{1}, {1}}, SomeObject(1, kDiskBlockBytes)));
  EXPECT_EQ(writer.Add({{1}, {1}}, SomeObject(1, BlockWriter::kMaxObjectBytes)), 48);
  EXPECT_FALSE(writer.Add({{2}, {2}}, SomeObject(1, 1)));
}

TEST_F(BlockFormat, RandomObjectsAreWhereTheWriterSaidUntilTheEnd) {
  constexpr unsigned kSeed = 81;
  SCOPED_TRACE(testing::Message() << "seed " << kSeed);
  std::mt19937 random(kSeed);
  for (int round = 0; round < 200; ++round) {
    BlockWriter writer{DiskBlock(block_)};
    struct Written {
      BlockMember member;
      uint16_t at;
      ObjectBytes object;
    };
    std::vector<Written> written;
    for (int refused = 0; refused < 5;) {
      const uint32_t number = static_cast<uint32_t>(random());
      const ObjectBytes object = SomeObject(number, 1 + random() % (round % 2 == 0 ? 3000 : 100));
      const BlockMember member{{random()}, {number}};
      if (const auto at = writer.Add(member, object)) {
        EXPECT_EQ(*at % kDiskGrainBytes, 0u);
        written.push_back({member, *at, object});
      } else {
        ++refused;
      }
    }
    const std::vector<BlockMember> read = Read();
    ASSERT_EQ(read.size(), written.size());
    for (size_t i = 0; i < read.size(); ++i) {
      EXPECT_EQ(read[i].page, written[i].member.page);
      EXPECT_EQ(read[i].id, written[i].member.id);
      const ObjectBytes& object = written[i].object;
      ASSERT_LE(written[i].at + object.size(), block_.size());
      ASSERT_EQ(std::memcmp(&block_[written[i].at], object.data(), object.size()), 0)
          << "round " << round << " object " << i;
    }
  }
}

TEST_F(BlockFormat, WhatIsNotOursHasNoMembers) {
  EXPECT_TRUE(Read().empty()) << "other bytes";
  block_.fill(std::byte{0});
  EXPECT_TRUE(Read().empty()) << "zeros";
  for (const size_t at : {0u, 1u, 2u, 3u, 4u}) {
    BlockWriter writer{DiskBlock(block_)};
    ASSERT_TRUE(writer.Add({{1}, {1}}, SomeObject(1, 100)));
    ASSERT_EQ(Read().size(), 1u);
    block_[at] ^= std::byte{2};
    EXPECT_TRUE(Read().empty()) << "another byte " << at;
  }
}

TEST_F(BlockFormat, MoreMembersThanABlockCanHaveAreNone) {
  BlockWriter writer{DiskBlock(block_)};
  ASSERT_TRUE(writer.Add({{1}, {1}}, SomeObject(1, 100)));
  block_[5] = static_cast<std::byte>(kMaxBlockMembers);
  EXPECT_EQ(Read(300).size(), kMaxBlockMembers);
  block_[5] = static_cast<std::byte>(kMaxBlockMembers + 1);
  EXPECT_TRUE(Read(300).empty());
}

TEST(BlockFormatDeathTest, ObjectWithoutBytesEndsTheDaemon) {
  std::array<std::byte, kDiskBlockBytes> block;
  BlockWriter writer{DiskBlock(block)};
  EXPECT_DEATH(writer.Add({{1}, {1}}, {}), "object without bytes");
}

}  // namespace
}  // namespace ebb
