// SPDX-License-Identifier: MIT
#pragma once

#include "absl/status/status.h"
#include "tests/bench/page_data.h"

namespace ebb::bench {

// How many blocks of a disk the data's pages take that need storage.
absl::Status MeasureDiskBlocks(const PageData& data);

}  // namespace ebb::bench
