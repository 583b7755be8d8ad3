// SPDX-License-Identifier: MIT
#include "hostd/tiers/same_filled.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "hostd/base/units.h"

namespace ebb {
namespace {

using Page = std::array<std::byte, kPageBytes>;

class SameFilledTest : public testing::Test {
 protected:
  alignas(8) Page page_ = {};
};

TEST_F(SameFilledTest, ZeroPageIsFound) { EXPECT_EQ(SameFilledValue(page_.data()), 0u); }

TEST_F(SameFilledTest, EveryValueThatFillsAPageIsFoundAgain) {
  for (const uint32_t value : {0u, 1u, 0xffffffffu, 0x01010101u, 0x00000100u, 0xdeadbeefu}) {
    FillSame(page_.data(), value);
    EXPECT_EQ(SameFilledValue(page_.data()), value);
  }
}

TEST_F(SameFilledTest, FillWritesTheWholePage) {
  page_.fill(std::byte{0x77});
  FillSame(page_.data(), 0x04030201);
  for (size_t at = 0; at < kPageBytes; ++at) {
    ASSERT_EQ(page_[at], std::byte(at % 4 + 1)) << "byte " << at;
  }
}

// A byte that is overlooked is a byte the guest loses.
TEST_F(SameFilledTest, OneDifferentByteAnywhereIsNotSameFilled) {
  for (const uint32_t value : {0u, 0xdeadbeefu}) {
    FillSame(page_.data(), value);
    for (size_t at = 0; at < kPageBytes; ++at) {
      page_[at] ^= std::byte{1};
      ASSERT_FALSE(SameFilledValue(page_.data())) << "byte " << at << " of " << value;
      page_[at] ^= std::byte{1};
    }
  }
}

TEST_F(SameFilledTest, RepeatedEightByteValueIsNotSameFilled) {
  for (size_t at = 0; at < kPageBytes; at += 8) {
    const uint64_t value = 0x1111111122222222;
    std::memcpy(&page_[at], &value, sizeof value);
  }
  EXPECT_FALSE(SameFilledValue(page_.data()));
}

TEST_F(SameFilledTest, HalfAndHalfIsNotSameFilled) {
  std::fill(page_.begin() + kPageBytes / 2, page_.end(), std::byte{1});
  EXPECT_FALSE(SameFilledValue(page_.data()));
}

}  // namespace
}  // namespace ebb
