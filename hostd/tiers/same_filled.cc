// SPDX-License-Identifier: MIT
#include "hostd/tiers/same_filled.h"

#include <algorithm>
#include <cstring>

#include "hostd/base/units.h"

namespace ebb {

std::optional<uint32_t> SameFilledValue(const std::byte* page) {
  // A page equals itself shifted by four bytes exactly when one 32-bit value fills it; memcmp stops
  // at the first difference, which in nearly all pages is in its first vector.
  if (std::memcmp(page, page + sizeof(uint32_t), kPageBytes - sizeof(uint32_t)) != 0) {
    return std::nullopt;
  }
  uint32_t value;
  std::memcpy(&value, page, sizeof value);
  return value;
}

void FillSame(std::byte* page, uint32_t value) {
  auto* words = reinterpret_cast<uint32_t*>(page);
  std::fill(words, words + kPageBytes / sizeof value, value);
}

}  // namespace ebb
