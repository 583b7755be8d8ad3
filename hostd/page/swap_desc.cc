// SPDX-License-Identifier: MIT
#include "hostd/page/swap_desc.h"

#include <xxhash.h>

namespace ebb {

uint32_t PageChecksum(const std::byte* content, PageIndex page, uint32_t generation) {
  const uint64_t seed = (page.value << 24) | generation;
  return static_cast<uint32_t>(XXH3_64bits_withSeed(content, kPageBytes, seed));
}

}  // namespace ebb
