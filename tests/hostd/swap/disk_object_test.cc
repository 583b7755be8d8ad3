// SPDX-License-Identifier: MIT
#include "hostd/swap/disk_object.h"

#include <gtest/gtest.h>

#include <array>
#include <random>

#include "tests/hostd/swap/disk_fixture.h"

namespace ebb {
namespace {

class DiskObjectTest : public DiskTest {
 protected:
  SwapId IdOf(uint64_t page) { return state_->words().Load({page}).swap_id(); }
  bool IsMember(uint64_t page, SwapId id) {
    return SwappedMember(state_, {{page}, id}).has_value();
  }
};

TEST_F(DiskObjectTest, OnlyWhatOurOwnWordsNameIsAMember) {
  ASSERT_NO_FATAL_FAILURE(SwapOutToDisk(10));
  ASSERT_NO_FATAL_FAILURE(SwapOut(20, PageContent{}));
  const auto word = SwappedMember(state_, {{3}, IdOf(3)});
  ASSERT_TRUE(word);
  EXPECT_EQ(*word, state_->words().Load({3}));
  EXPECT_FALSE(IsMember(3, IdOf(4))) << "of another page";
  EXPECT_FALSE(IsMember(30, IdOf(3))) << "resident";
  EXPECT_FALSE(IsMember(30, {})) << "resident pages have id 0";
  EXPECT_FALSE(IsMember(20, kZeroPageId)) << "has no record";
  EXPECT_FALSE(IsMember(kPages, IdOf(3)));
  EXPECT_FALSE(IsMember(UINT32_MAX, {UINT32_MAX - 1}));
  ASSERT_EQ(Touch(3), PageOutcome::kReading);
  EXPECT_FALSE(IsMember(3, IdOf(3))) << "somebody owns it";
  disk_->Complete();
  EXPECT_EQ(NextRead()->outcome, PageOutcome::kServed);
}

TEST_F(DiskObjectTest, ObjectBecomesItsPage) {
  ASSERT_NO_FATAL_FAILURE(SwapOutToDisk(10));
  const SwapLocation at = LocationOf(3);
  const ConstDiskBlock block(
      disk_->data().subspan(PagesToBytes(at.disk_location().block), kDiskBlockBytes));
  PageContent page;
  ASSERT_TRUE(DecodeDiskObject(block, at, page.data()));
  EXPECT_EQ(page, ContentOf(3));
}

// After a crash a location may say anything.
TEST(DiskObject, LocationsBeyondTheBlockAreRefused) {
  const std::array<std::byte, kDiskBlockBytes> block = {};
  PageContent page;
  EXPECT_FALSE(
      DecodeDiskObject(block, SwapLocation::OnDisk(Codec::kRaw, 4096, {0, 1, 16}), page.data()));
  EXPECT_FALSE(
      DecodeDiskObject(block, SwapLocation::OnDisk(Codec::kLz4, 100, {0, 1, 4080}), page.data()));
  EXPECT_TRUE(
      DecodeDiskObject(block, SwapLocation::OnDisk(Codec::kRaw, 4096, {0, 1, 0}), page.data()));
  const unsigned seed = std::random_device()();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  for (int i = 0; i < 100'000; ++i) DecodeDiskObject(block, SwapLocation(random()), page.data());
}

}  // namespace
}  // namespace ebb
