// SPDX-License-Identifier: MIT
#include "tests/guest/content_sample.h"

#include <lz4.h>

#include <algorithm>
#include <array>
#include <numeric>

#include "tests/guest/content.h"

namespace ebb::guest {

double ContentSample::ratio() const {
  const double compressed = std::accumulate(compressed_bytes.begin(), compressed_bytes.end(), 0.0);
  return static_cast<double>(PagesToBytes(compressed_bytes.size())) / compressed;
}

ContentSample SampleContent(uint64_t seed, uint64_t pages) {
  constexpr int kSourceBytes = kPageBytes;
  alignas(uint64_t) std::array<char, kPageBytes> page;
  std::array<char, LZ4_COMPRESSBOUND(kPageBytes)> compressed;

  ContentSample sample;
  sample.compressed_bytes.reserve(pages);
  for (uint64_t i = 0; i < pages; ++i) {
    // Versions as a running guest has them: most pages at their first one.
    FillPage({.seed = seed, .address = PagesToBytes(i), .version = i % 8 == 0 ? 1u : 0u},
             page.data());
    if (std::all_of(page.begin(), page.end(), [](char c) { return c == 0; })) ++sample.zero_pages;
    const int bytes =
        LZ4_compress_default(page.data(), compressed.data(), kSourceBytes, compressed.size());
    sample.compressed_bytes.push_back(std::min(bytes, kSourceBytes));
  }
  return sample;
}

}  // namespace ebb::guest
