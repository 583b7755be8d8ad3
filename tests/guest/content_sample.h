// SPDX-License-Identifier: MIT
// What LZ4 makes of the workload's content, measured page by page as ebbd compresses it.
#pragma once

#include <cstdint>
#include <vector>

namespace ebb::guest {

struct ContentSample {
  uint64_t zero_pages = 0;
  std::vector<int> compressed_bytes;  // per page, at most kPageBytes: a page may be kept as it is

  double ratio() const;
};

ContentSample SampleContent(uint64_t seed, uint64_t pages);

}  // namespace ebb::guest
