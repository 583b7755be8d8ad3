// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "tests/bench/page_data.h"

namespace ebb::bench {

// How much memory it takes to keep a guest of `pages` pages, all of it swapped out, which hold the
// data over and over. The numbers of the pages that are, one a line, go to `stored_path`: for
// whoever is to keep the same ones.
absl::Status MeasureFilledPool(const PageData& data, uint64_t pages,
                               const std::string& stored_path);

// How dense the pool stays when what it holds changes.
absl::Status MeasureChangedPool(const PageData& data, uint64_t pages, uint64_t seed);

}  // namespace ebb::bench
