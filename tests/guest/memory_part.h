// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "tests/guest/content.h"
#include "tests/guest/pace.h"
#include "tests/guest/report.h"

namespace ebb::guest {

// The workload's anonymous memory. Its pages are counted from 0; different threads may work on
// different pages at the same time.
class MemoryPart {
 public:
  MemoryPart(uint64_t seed, uint64_t pages, Progress& progress);
  ~MemoryPart();
  MemoryPart(const MemoryPart&) = delete;
  MemoryPart& operator=(const MemoryPart&) = delete;

  void Fill(Pace& pace);

  // Verifies pages [first, end) in order and then rewrites those with page % every == remainder.
  // Returns how many it rewrote.
  uint64_t Sweep(uint64_t first, uint64_t end, uint64_t every, uint64_t remainder, Pace& pace);

 private:
  PageId Id(uint64_t page) const;
  std::byte* At(uint64_t page) const { return memory_ + PagesToBytes(page); }

  const uint64_t seed_;
  Progress& progress_;
  std::byte* const memory_;
  std::vector<uint32_t> versions_;
};

}  // namespace ebb::guest
