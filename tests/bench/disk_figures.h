// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "tests/bench/page_data.h"

namespace ebb::bench {

// How many blocks of a disk the data's pages take, and how many are read for each that comes back:
// all go to a disk, and come back in an order of chance. The disk is a file in the working folder,
// or else in /var/tmp.
absl::Status MeasureDisk(const PageData& data, uint64_t seed);

}  // namespace ebb::bench
