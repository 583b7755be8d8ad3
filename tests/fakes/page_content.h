// SPDX-License-Identifier: MIT
// Page contents for tests, the same for the same arguments.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <random>

#include "hostd/base/units.h"

namespace ebb {

using PageContent = std::array<std::byte, kPageBytes>;

// `random_bytes` random bytes, then zeros: compresses to a little more than that.
inline PageContent PartlyRandomContent(uint64_t seed, size_t random_bytes) {
  std::mt19937_64 random(seed);
  PageContent content = {};
  for (size_t at = 0; at < random_bytes; ++at) content[at] = static_cast<std::byte>(random());
  return content;
}

// Does not compress.
inline PageContent RandomContent(uint64_t seed) { return PartlyRandomContent(seed, kPageBytes); }

inline PageContent FilledWith(std::byte value) {
  PageContent content;
  content.fill(value);
  return content;
}

}  // namespace ebb
