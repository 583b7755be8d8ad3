// SPDX-License-Identifier: MIT
#include "tests/guest/content.h"

#include <gtest/gtest.h>

#include <set>
#include <vector>

#include "tests/guest/content_sample.h"

namespace ebb::guest {
namespace {

constexpr uint64_t kSeed = 42;
constexpr uint64_t kPages = 20000;

class ContentTest : public testing::Test {
 protected:
  // A page that is not zero, at version 3.
  ContentTest() {
    do {
      id_.address += kPageBytes;
      FillPage(id_, page_.data());
    } while (page_[0] == 0);
  }

  uint8_t* bytes() { return reinterpret_cast<uint8_t*>(page_.data()); }

  PageId id_{.seed = kSeed, .address = 0, .version = 3};
  std::vector<uint64_t> page_ = std::vector<uint64_t>(kPageBytes / sizeof(uint64_t));
};

TEST(ContentMixTest, CompressesLikeAServersMemory) {
  const ContentSample sample = SampleContent(kSeed, kPages);
  EXPECT_GE(sample.ratio(), 1.8);
  EXPECT_LE(sample.ratio(), 2.2);
  EXPECT_LE(sample.zero_pages, kPages / 10);
  EXPECT_GE(sample.zero_pages, kPages / 100);
}

TEST(ContentMixTest, CompressesAlikeInEveryVersionAndSeed) {
  for (uint64_t seed : {0ul, 1ul, 7777777ul}) {
    EXPECT_NEAR(SampleContent(seed, kPages).ratio(), SampleContent(kSeed, kPages).ratio(), 0.05);
  }
}

TEST(ContentMixTest, PagesHaveManySizes) {
  const ContentSample sample = SampleContent(kSeed, kPages);
  const std::set<int> sizes(sample.compressed_bytes.begin(), sample.compressed_bytes.end());
  EXPECT_GT(sizes.size(), 200u);
}

TEST_F(ContentTest, AFilledPageMatches) { EXPECT_TRUE(PageMatches(id_, page_.data())); }

TEST_F(ContentTest, AnotherAddressVersionOrSeedDoesNotMatch) {
  EXPECT_FALSE(PageMatches({id_.seed, id_.address + kPageBytes, id_.version}, page_.data()));
  EXPECT_FALSE(PageMatches({id_.seed, id_.address, id_.version + 1}, page_.data()));
  EXPECT_FALSE(PageMatches({id_.seed + 1, id_.address, id_.version}, page_.data()));
}

TEST_F(ContentTest, AChangedByteIsCounted) {
  for (size_t offset : {size_t{0}, size_t{1234}, kPageBytes - 1}) {
    bytes()[offset] ^= 0x10;
    ASSERT_FALSE(PageMatches(id_, page_.data()));
    const PageDifference difference = ComparePage(id_, page_.data());
    EXPECT_EQ(difference.wrong_bytes, 1u);
    EXPECT_EQ(difference.first_offset, offset);
    EXPECT_EQ(difference.got, difference.expected ^ 0x10);
    EXPECT_EQ(difference.content, WrongContent::kOther);
    bytes()[offset] ^= 0x10;
  }
}

TEST_F(ContentTest, AnOlderVersionIsRecognised) {
  FillPage({id_.seed, id_.address, 1}, page_.data());
  const PageDifference difference = ComparePage(id_, page_.data());
  EXPECT_EQ(difference.content, WrongContent::kOlderVersion);
  EXPECT_EQ(difference.older_version, 1u);
  EXPECT_GT(difference.wrong_bytes, kPageBytes / 2);
}

TEST_F(ContentTest, ALostPageIsRecognised) {
  std::fill(page_.begin(), page_.end(), 0);
  EXPECT_EQ(ComparePage(id_, page_.data()).content, WrongContent::kZero);
}

TEST_F(ContentTest, APageThatWasWrongOnlyForAMomentStillCounts) {
  const PageDifference difference = ComparePage(id_, page_.data());
  EXPECT_EQ(difference.wrong_bytes, 1u);
  EXPECT_EQ(difference.content, WrongContent::kRightByNow);
}

}  // namespace
}  // namespace ebb::guest
