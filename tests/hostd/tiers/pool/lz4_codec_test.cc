// SPDX-License-Identifier: MIT
#include "hostd/tiers/pool/lz4_codec.h"

#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <random>
#include <span>
#include <vector>

#include "tests/fakes/page_content.h"

namespace ebb {
namespace {

class Lz4Test : public testing::Test {
 protected:
  // The compressed bytes in memory of exactly that size, so that ASan sees a read past them.
  std::vector<std::byte> Compressed(const PageContent& content) {
    std::array<std::byte, kPageBytes + 64> out;
    const uint32_t length = compressor_.Compress(content.data(), out);
    return {out.begin(), out.begin() + length};
  }

  Lz4Compressor compressor_;
  PageContent page_ = {};
};

TEST_F(Lz4Test, ContentComesBackWhateverItCompressesTo) {
  for (size_t random_bytes = 0; random_bytes <= kPageBytes; random_bytes += 64) {
    const PageContent content = PartlyRandomContent(7, random_bytes);
    const std::vector<std::byte> compressed = Compressed(content);
    ASSERT_FALSE(compressed.empty());
    ASSERT_TRUE(Lz4Decompress(compressed, page_.data())) << random_bytes << " random bytes";
    ASSERT_EQ(page_, content) << random_bytes << " random bytes";
  }
}

TEST_F(Lz4Test, CompressorCanBeUsedAgainAfterAPageThatDidNotFit) {
  std::array<std::byte, 100> small;
  EXPECT_EQ(compressor_.Compress(RandomContent(1).data(), small), 0u);
  const PageContent content = PartlyRandomContent(2, 1000);
  ASSERT_TRUE(Lz4Decompress(Compressed(content), page_.data()));
  EXPECT_EQ(page_, content);
}

TEST_F(Lz4Test, PageThatDoesNotFitIsRefusedAtEverySizeBelowItsOwn) {
  const PageContent content = PartlyRandomContent(3, 300);
  const size_t needed = Compressed(content).size();
  for (size_t size = 0; size < needed; ++size) {
    std::vector<std::byte> out(size);
    ASSERT_EQ(compressor_.Compress(content.data(), out), 0u) << size << " of " << needed;
  }
}

TEST_F(Lz4Test, TruncatedInputOfEveryLengthIsRefused) {
  const std::vector<std::byte> compressed = Compressed(PartlyRandomContent(4, 700));
  for (size_t length = 0; length < compressed.size(); ++length) {
    const std::vector<std::byte> truncated(compressed.begin(),
                                           compressed.begin() + static_cast<ptrdiff_t>(length));
    ASSERT_FALSE(Lz4Decompress(truncated, page_.data())) << length << " bytes";
  }
}

TEST_F(Lz4Test, InputThatGivesLessOrMoreThanAPageIsRefused) {
  // A whole page in one literal run, then one shorter and one longer by a byte.
  for (const size_t literals : {kPageBytes - 1, kPageBytes, kPageBytes + 1}) {
    std::vector<std::byte> input = {std::byte{0xf0}};
    size_t rest = literals - 15;
    for (; rest >= 255; rest -= 255) input.push_back(std::byte{255});
    input.push_back(static_cast<std::byte>(rest));
    input.resize(input.size() + literals, std::byte{'x'});
    EXPECT_EQ(Lz4Decompress(input, page_.data()), literals == kPageBytes) << literals;
  }
}

// Whatever is stored there, decompression stays within the input and the page; ASan watches. Output
// of the right length cannot be told from right content here: that is the checksum's work.
TEST_F(Lz4Test, GarbageOfAllLengthsNeverWritesOutsideThePage) {
  constexpr unsigned kSeed = 99;
  SCOPED_TRACE(testing::Message() << "seed " << kSeed);
  std::mt19937 random(kSeed);
  const auto guarded = std::make_unique<std::array<std::byte, kPageBytes + 128>>();
  for (size_t length = 0; length <= kPageBytes; ++length) {
    std::vector<std::byte> garbage(length);
    for (std::byte& byte : garbage) byte = static_cast<std::byte>(random());
    guarded->fill(std::byte{0xee});
    Lz4Decompress(garbage, guarded->data() + 64);
    for (size_t at = 0; at < 64; ++at) {
      ASSERT_EQ((*guarded)[at], std::byte{0xee}) << "length " << length;
      ASSERT_EQ((*guarded)[64 + kPageBytes + at], std::byte{0xee}) << "length " << length;
    }
  }
}

TEST_F(Lz4Test, OneFlippedBitAnywhereNeverWritesOutsideThePage) {
  const std::vector<std::byte> compressed = Compressed(PartlyRandomContent(5, 500));
  const auto guarded = std::make_unique<std::array<std::byte, kPageBytes + 64>>();
  for (size_t at = 0; at < compressed.size() * 8; ++at) {
    std::vector<std::byte> corrupt = compressed;
    corrupt[at / 8] ^= std::byte{1} << (at % 8);
    guarded->fill(std::byte{0xee});
    Lz4Decompress(corrupt, guarded->data());
    for (size_t past = kPageBytes; past < guarded->size(); ++past) {
      ASSERT_EQ((*guarded)[past], std::byte{0xee}) << "bit " << at;
    }
  }
}

}  // namespace
}  // namespace ebb
