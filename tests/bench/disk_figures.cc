// SPDX-License-Identifier: MIT
#include "tests/bench/disk_figures.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "hostd/tiers/disk/pack_blocks.h"
#include "hostd/tiers/page_codec.h"
#include "hostd/tiers/same_filled.h"
#include "tests/bench/figure.h"

namespace ebb::bench {
namespace {

// So many pages are written together.
constexpr size_t kPackedPages = 128;

// The lengths of the objects; 0 for a page that is stored as it is.
std::vector<uint32_t> ObjectLengths(const PageData& data) {
  PageCompressor compressor;
  std::array<std::byte, kMaxCompressedBytes> object;
  std::vector<uint32_t> lengths;
  for (uint32_t page = 0; page < data.pages(); ++page) {
    if (SameFilledValue(data.page(page))) continue;
    lengths.push_back(compressor.Compress(data.page(page), object));
  }
  return lengths;
}

uint64_t BlocksFor(std::span<const uint32_t> lengths) {
  std::vector<uint32_t> compressed;
  for (const uint32_t length : lengths) {
    if (length > 0) compressed.push_back(length);
  }
  const std::vector<uint32_t> block_of = PackBlocks(compressed);
  const uint64_t raw_pages = lengths.size() - compressed.size();
  if (block_of.empty()) return raw_pages;
  return raw_pages + *std::max_element(block_of.begin(), block_of.end()) + 1;
}

}  // namespace

absl::Status MeasureDiskBlocks(const PageData& data) {
  SayProgress("packing blocks of a disk");
  const std::vector<uint32_t> lengths = ObjectLengths(data);
  if (lengths.empty()) return absl::InvalidArgumentError("the data has no page to be stored");
  uint64_t blocks = 0;
  for (size_t first = 0; first < lengths.size(); first += kPackedPages) {
    const size_t count = std::min(kPackedPages, lengths.size() - first);
    blocks += BlocksFor(std::span(lengths).subspan(first, count));
  }
  SayFigure("disk_blocks_per_page",
            static_cast<double>(blocks) / static_cast<double>(lengths.size()), "blocks/page");
  return absl::OkStatus();
}

}  // namespace ebb::bench
