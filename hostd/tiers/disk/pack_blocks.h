// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace ebb {

// Distributes objects of these lengths over as few blocks as is easily found (best fit decreasing).
// Says for each object its block: 0 to the number of blocks - 1.
std::vector<uint32_t> PackBlocks(std::span<const uint32_t> object_bytes);

}  // namespace ebb
