// SPDX-License-Identifier: MIT
#include "hostd/page/swap_desc.h"

#include <gtest/gtest.h>

#include <set>
#include <vector>

#include "hostd/base/units.h"

namespace ebb {
namespace {

constexpr uint64_t kMaxHandle = (uint64_t{1} << 42) - 1;
constexpr uint32_t kLastGeneration = 15;

// Values of layout version 2: a later ebbd reads records that an earlier one has written.
TEST(SwapLocation, LayoutHasGoldenValues) {
  EXPECT_EQ(SwapLocation().bits(), 0u) << "fresh memory is all free records";
  EXPECT_EQ(SwapLocation::SameFilled(0).bits(), 0x1u);
  EXPECT_EQ(SwapLocation::SameFilled(0xdeadbeef).bits(), 0x37ab6f'bbc00001u);
  EXPECT_EQ(SwapLocation::InPool(Codec::kRaw, 4096, {0}).bits(), 0x3ffc2u);
  EXPECT_EQ(SwapLocation::InPool(Codec::kLz4, 1, {1}).bits(), 0x40000au);
  EXPECT_EQ(SwapLocation::InPool(Codec::kLz4, 0x123, {0x3456789abc}).bits(), 0xd159e26'af00488au);
  EXPECT_EQ(SwapLocation::OnDisk(Codec::kRaw, 4096, {0, 0, 0}).bits(), 0x3ffc3u);
  EXPECT_EQ(SwapLocation::OnDisk(Codec::kLz4, 1, {0, 0, 16}).bits(), 0x40000bu);
  EXPECT_EQ(SwapLocation::OnDisk(Codec::kLz4, 1, {1, 1, 0}).bits(), 0x10000000'4000000bu);
  EXPECT_EQ(SwapLocation().WithGeneration(1).bits(), 0x40000u);
}

TEST(SwapLocation, FreshRecordIsFree) { EXPECT_EQ(SwapLocation().tier(), TierKind::kFree); }

TEST(SwapLocation, SameFilledKeepsAnyValue) {
  for (const uint32_t value : {0u, 1u, 0x80000000u, 0xffffffffu, 0x01020304u}) {
    const SwapLocation location = SwapLocation::SameFilled(value).WithGeneration(kLastGeneration);
    EXPECT_EQ(location.tier(), TierKind::kSameFilled);
    EXPECT_EQ(location.same_filled_value(), value);
    EXPECT_EQ(location.generation(), kLastGeneration);
  }
}

TEST(SwapLocation, PoolFieldsKeepTheirExtremesTogether) {
  for (const uint64_t handle : {uint64_t{0}, uint64_t{1}, kMaxHandle}) {
    for (const uint32_t length : {1u, 4095u, 4096u}) {
      for (const Codec codec : {Codec::kRaw, Codec::kLz4}) {
        for (const uint32_t generation : {0u, 1u, kLastGeneration}) {
          const SwapLocation location =
              SwapLocation::InPool(codec, length, {handle}).WithGeneration(generation);
          EXPECT_EQ(location.tier(), TierKind::kPool);
          EXPECT_EQ(location.codec(), codec);
          EXPECT_EQ(location.length_bytes(), length);
          EXPECT_EQ(location.generation(), generation);
          EXPECT_EQ(location.pool_handle(), PoolHandle{handle});
        }
      }
    }
  }
}

TEST(SwapLocation, DiskFieldsKeepTheirExtremesTogether) {
  constexpr uint32_t kLastBlock = (uint32_t{1} << 30) - 1;
  for (const DiskLocation at : {DiskLocation{0, 0, 0},
                                {15, 0, 0},
                                {0, kLastBlock, 0},
                                {0, 0, 4080},
                                {15, kLastBlock, 4080},
                                {1, 1, 16}}) {
    for (const uint32_t length : {1u, 4095u, 4096u}) {
      for (const Codec codec : {Codec::kRaw, Codec::kLz4}) {
        for (const uint32_t generation : {0u, 1u, kLastGeneration}) {
          const SwapLocation location =
              SwapLocation::OnDisk(codec, length, at).WithGeneration(generation);
          EXPECT_EQ(location.tier(), TierKind::kDisk);
          EXPECT_EQ(location.codec(), codec);
          EXPECT_EQ(location.length_bytes(), length);
          EXPECT_EQ(location.generation(), generation);
          EXPECT_EQ(location.disk_location(), at);
        }
      }
    }
  }
}

TEST(SwapLocation, GenerationWrapsWithoutTouchingItsNeighbours) {
  const SwapLocation location = SwapLocation::InPool(Codec::kLz4, 4096, {1});
  const SwapLocation wrapped = location.WithGeneration(kLastGeneration + 1);
  EXPECT_EQ(wrapped, location) << "16 is 0 again";
}

TEST(SwapLocation, GenerationReplacesAnEarlierOne) {
  const SwapLocation location = SwapLocation::SameFilled(5).WithGeneration(kLastGeneration);
  EXPECT_EQ(location.WithGeneration(2).generation(), 2u);
  EXPECT_EQ(location.WithGeneration(2).same_filled_value(), 5u);
}

class PageChecksumTest : public testing::Test {
 protected:
  std::vector<std::byte> content_ = std::vector<std::byte>(kPageBytes, std::byte{0x5a});
};

TEST_F(PageChecksumTest, IsTheSameForTheSame) {
  EXPECT_EQ(PageChecksum(content_.data(), {7}, 3), PageChecksum(content_.data(), {7}, 3));
}

TEST_F(PageChecksumTest, DependsOnEveryByte) {
  const uint32_t checksum = PageChecksum(content_.data(), {7}, 3);
  for (size_t at = 0; at < kPageBytes; ++at) {
    content_[at] ^= std::byte{1};
    EXPECT_NE(PageChecksum(content_.data(), {7}, 3), checksum) << "byte " << at;
    content_[at] ^= std::byte{1};
  }
}

TEST_F(PageChecksumTest, RightContentOfAnotherPageIsWrong) {
  std::set<uint32_t> checksums;
  for (uint64_t page = 0; page < 1000; ++page) {
    checksums.insert(PageChecksum(content_.data(), {page}, 3));
  }
  EXPECT_EQ(checksums.size(), 1000u);
}

TEST_F(PageChecksumTest, RightContentOfAnotherLifeIsWrong) {
  std::set<uint32_t> checksums;
  for (uint32_t generation = 0; generation < 1000; ++generation) {
    checksums.insert(PageChecksum(content_.data(), {7}, generation));
  }
  EXPECT_EQ(checksums.size(), 1000u);
}

TEST_F(PageChecksumTest, PageAndGenerationAreNotAddedUp) {
  constexpr uint32_t kMaxPageGeneration = (uint32_t{1} << 24) - 1;
  EXPECT_NE(PageChecksum(content_.data(), {1}, 0),
            PageChecksum(content_.data(), {0}, kMaxPageGeneration));
  EXPECT_NE(PageChecksum(content_.data(), {1}, 0), PageChecksum(content_.data(), {0}, 1));
}

// A later ebbd verifies what an earlier one has stored, so the function is part of the layout.
TEST_F(PageChecksumTest, HasGoldenValues) {
  const std::vector<std::byte> zeros(kPageBytes);
  EXPECT_EQ(PageChecksum(zeros.data(), {0}, 0), 1220970938u);
  EXPECT_EQ(PageChecksum(content_.data(), {7}, 3), 1787300088u);
}

}  // namespace
}  // namespace ebb
