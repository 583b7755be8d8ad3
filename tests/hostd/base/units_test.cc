// SPDX-License-Identifier: MIT
#include "hostd/base/units.h"

#include <gtest/gtest.h>

#include <concepts>
#include <type_traits>

namespace ebb {
namespace {

// What the types are for: a page index is no address and no bare number.
static_assert(!std::is_convertible_v<uint64_t, PageIndex>);
static_assert(!std::is_convertible_v<PageIndex, uint64_t>);
static_assert(!std::is_convertible_v<Hva, PageIndex>);
static_assert(!std::equality_comparable_with<Hva, PageIndex>);

TEST(Units, PagesAndBytes) {
  EXPECT_EQ(PagesToBytes(3), 12288u);
  EXPECT_EQ(BytesToPages(12288), 3u);
  EXPECT_EQ(BytesToPages(12287), 2u) << "a part of a page is no page";
  EXPECT_EQ(PagesToBytes(uint64_t{1} << 40), uint64_t{1} << 52) << "more than 32 bits";
}

TEST(Units, DurationsAgree) {
  EXPECT_EQ(kNsPerMs, 1000 * kNsPerUs);
  EXPECT_EQ(kNsPerS, 1000 * kNsPerMs);
}

TEST(PageIndex, Orders) {
  EXPECT_LT(PageIndex{1}, PageIndex{2});
  EXPECT_EQ(PageIndex{1} + 4, PageIndex{5});
}

TEST(PageRange, ContainsItsFirstButNotItsEnd) {
  const PageRange range{.first = {10}, .count = 3};
  EXPECT_EQ(range.end(), PageIndex{13});
  EXPECT_FALSE(range.Contains({9}));
  EXPECT_TRUE(range.Contains({10}));
  EXPECT_TRUE(range.Contains({12}));
  EXPECT_FALSE(range.Contains({13}));
}

TEST(PageRange, EmptyContainsNothing) {
  const PageRange range{.first = {10}, .count = 0};
  EXPECT_FALSE(range.Contains({10}));
}

}  // namespace
}  // namespace ebb
