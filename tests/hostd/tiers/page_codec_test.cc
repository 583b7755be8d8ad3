// SPDX-License-Identifier: MIT
#include "hostd/tiers/page_codec.h"

#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <random>
#include <span>
#include <vector>

#include "tests/fakes/page_content.h"

namespace ebb {
namespace {

class PageCodecTest : public testing::Test {
 protected:
  // The compressed bytes in memory of exactly that size, so that ASan sees a read past them.
  std::vector<std::byte> Compressed(const PageContent& content) {
    std::array<std::byte, kPageBytes + 64> out;
    const uint32_t length = compressor_.Compress(content.data(), out);
    return {out.begin(), out.begin() + length};
  }

  PageCompressor compressor_;
  PageContent page_ = {};
};

TEST_F(PageCodecTest, ContentComesBackWhateverItCompressesTo) {
  for (size_t random_bytes = 0; random_bytes <= kPageBytes; random_bytes += 64) {
    const PageContent content = PartlyRandomContent(7, random_bytes);
    const std::vector<std::byte> compressed = Compressed(content);
    ASSERT_FALSE(compressed.empty());
    ASSERT_TRUE(DecodePage(Codec::kLz4, compressed, page_.data()))
        << random_bytes << " random bytes";
    ASSERT_EQ(page_, content) << random_bytes << " random bytes";
  }
}

TEST_F(PageCodecTest, CompressorCanBeUsedAgainAfterAPageThatDidNotFit) {
  std::array<std::byte, 100> small;
  EXPECT_EQ(compressor_.Compress(RandomContent(1).data(), small), 0u);
  const PageContent content = PartlyRandomContent(2, 1000);
  ASSERT_TRUE(DecodePage(Codec::kLz4, Compressed(content), page_.data()));
  EXPECT_EQ(page_, content);
}

TEST_F(PageCodecTest, PageThatDoesNotFitIsRefusedAtEverySizeBelowItsOwn) {
  const PageContent content = PartlyRandomContent(3, 300);
  const size_t needed = Compressed(content).size();
  for (size_t size = 0; size < needed; ++size) {
    std::vector<std::byte> out(size);
    ASSERT_EQ(compressor_.Compress(content.data(), out), 0u) << size << " of " << needed;
  }
}

TEST_F(PageCodecTest, TruncatedInputOfEveryLengthIsRefused) {
  const std::vector<std::byte> compressed = Compressed(PartlyRandomContent(4, 700));
  for (size_t length = 0; length < compressed.size(); ++length) {
    const std::vector<std::byte> truncated(compressed.begin(),
                                           compressed.begin() + static_cast<ptrdiff_t>(length));
    ASSERT_FALSE(DecodePage(Codec::kLz4, truncated, page_.data())) << length << " bytes";
  }
}

TEST_F(PageCodecTest, InputThatGivesLessOrMoreThanAPageIsRefused) {
  // A whole page in one literal run, then one shorter and one longer by a byte.
  for (const size_t literals : {kPageBytes - 1, kPageBytes, kPageBytes + 1}) {
    std::vector<std::byte> input = {std::byte{0xf0}};
    size_t rest = literals - 15;
    for (; rest >= 255; rest -= 255) input.push_back(std::byte{255});
    input.push_back(static_cast<std::byte>(rest));
    input.resize(input.size() + literals, std::byte{'x'});
    EXPECT_EQ(DecodePage(Codec::kLz4, input, page_.data()), literals == kPageBytes) << literals;
  }
}

// Whatever is stored there, decompression stays within the input and the page; ASan watches. Output
// of the right length cannot be told from right content here: that is the checksum's work.
TEST_F(PageCodecTest, GarbageOfAllLengthsNeverWritesOutsideThePage) {
  constexpr unsigned kSeed = 99;
  SCOPED_TRACE(testing::Message() << "seed " << kSeed);
  std::mt19937 random(kSeed);
  const auto guarded = std::make_unique<std::array<std::byte, kPageBytes + 128>>();
  for (size_t length = 0; length <= kPageBytes; ++length) {
    std::vector<std::byte> garbage(length);
    for (std::byte& byte : garbage) byte = static_cast<std::byte>(random());
    guarded->fill(std::byte{0xee});
    DecodePage(Codec::kLz4, garbage, guarded->data() + 64);
    for (size_t at = 0; at < 64; ++at) {
      ASSERT_EQ((*guarded)[at], std::byte{0xee}) << "length " << length;
      ASSERT_EQ((*guarded)[64 + kPageBytes + at], std::byte{0xee}) << "length " << length;
    }
  }
}

TEST_F(PageCodecTest, OneFlippedBitAnywhereNeverWritesOutsideThePage) {
  const std::vector<std::byte> compressed = Compressed(PartlyRandomContent(5, 500));
  const auto guarded = std::make_unique<std::array<std::byte, kPageBytes + 64>>();
  for (size_t at = 0; at < compressed.size() * 8; ++at) {
    std::vector<std::byte> corrupt = compressed;
    corrupt[at / 8] ^= std::byte{1} << (at % 8);
    guarded->fill(std::byte{0xee});
    DecodePage(Codec::kLz4, corrupt, guarded->data());
    for (size_t past = kPageBytes; past < guarded->size(); ++past) {
      ASSERT_EQ((*guarded)[past], std::byte{0xee}) << "bit " << at;
    }
  }
}

TEST_F(PageCodecTest, RawPageIsAWholePage) {
  const PageContent content = RandomContent(8);
  ASSERT_TRUE(DecodePage(Codec::kRaw, content, page_.data()));
  EXPECT_EQ(page_, content);
  EXPECT_FALSE(DecodePage(Codec::kRaw, std::span(content).first(kPageBytes - 1), page_.data()));
  EXPECT_FALSE(DecodePage(Codec::kRaw, {}, page_.data()));
}

TEST_F(PageCodecTest, UnknownCodecIsRefused) {
  EXPECT_FALSE(DecodePage(static_cast<Codec>(7), RandomContent(9), page_.data()));
}

}  // namespace
}  // namespace ebb
