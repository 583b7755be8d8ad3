// SPDX-License-Identifier: MIT
#include "hostd/swap/swap_state.h"

#include <gtest/gtest.h>

#include <array>
#include <vector>

#include "tests/hostd/tiers/pool/fake_pool_memory.h"

namespace ebb {
namespace {

class SwapStateTest : public testing::Test {
 protected:
  static constexpr uint64_t kPages = 100;
  static constexpr uint32_t kRecords = 110;

  std::vector<std::byte> words_{PageWords::BytesFor(kPages)};
  std::vector<std::byte> records_{SwapDescTable::BytesFor(kRecords)};
  FakePoolMemory pool_{kMiB};
  SwapState state_{{words_.data(), records_.data(), &pool_}, kPages, kRecords};
};

TEST_F(SwapStateTest, FreshStateHasAllPagesResident) {
  for (PageIndex page; page.value < kPages; page = page + 1) {
    EXPECT_EQ(state_.words().Load(page), PageWord());
  }
  EXPECT_EQ(state_.stats().swapped_pages, 0u);
}

TEST_F(SwapStateTest, ReapFreesPoolStorageOfRetiredRecordsOnly) {
  const std::array<std::byte, kPageBytes> page = {};
  const auto kept = state_.table().Allocate({*state_.pool().Store(page.data()), 0});
  const auto retired = state_.table().Allocate({*state_.pool().Store(page.data()), 0});
  const auto same_filled = state_.table().Allocate({SwapLocation::SameFilled(0), 0});
  state_.table().Retire(*retired);
  state_.table().Retire(*same_filled);
  EXPECT_EQ(state_.pool().stats().original_bytes, 2 * kPageBytes);
  state_.ReapRetired();
  EXPECT_EQ(state_.pool().stats().original_bytes, kPageBytes);
  EXPECT_EQ(state_.table().Load(*kept).location.tier(), TierKind::kPool);
}

}  // namespace
}  // namespace ebb
