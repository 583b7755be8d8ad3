// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

namespace ebb {

// The 32-bit value a page consists of, if it consists of one. Zero is by far the commonest.
std::optional<uint32_t> SameFilledValue(const std::byte* page);

void FillSame(std::byte* page, uint32_t value);

}  // namespace ebb
