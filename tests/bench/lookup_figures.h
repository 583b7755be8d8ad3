// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

#include "absl/status/status.h"

namespace ebb::bench {

// How long it takes to learn where a swapped page's content is: page word, SwapId, record. Over
// `pages` pages in random order, with one thread and with two; the median of `rounds` rounds each,
// in turns.
absl::Status MeasureLookups(uint64_t pages, int rounds, uint64_t seed);

}  // namespace ebb::bench
