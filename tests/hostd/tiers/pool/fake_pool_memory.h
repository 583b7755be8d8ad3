// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <set>
#include <vector>

#include "hostd/base/units.h"
#include "hostd/tiers/pool/pool_memory.h"

namespace ebb {

// Ordinary memory that knows which of its parts are allocated, and fails on any misuse: nothing is
// allocated or freed twice. Freed parts are overwritten, so that who still uses them notices.
class FakePoolMemory : public PoolMemory {
 public:
  explicit FakePoolMemory(uint64_t bytes) : data_(bytes, kFreed) {}

  std::byte* data() const override { return const_cast<std::byte*>(data_.data()); }
  uint64_t bytes() const override { return data_.size(); }

  bool Allocate(uint64_t offset, uint64_t bytes) override {
    if (full_) return false;
    for (uint64_t page = 0; page < BytesToPages(bytes); ++page) {
      if (!allocated_.insert(BytesToPages(offset) + page).second) std::abort();
    }
    std::fill_n(data_.begin() + static_cast<ptrdiff_t>(offset), bytes, std::byte{0});
    return true;
  }
  void Free(uint64_t offset, uint64_t bytes) override {
    for (uint64_t page = 0; page < BytesToPages(bytes); ++page) {
      if (allocated_.erase(BytesToPages(offset) + page) != 1) std::abort();
    }
    std::fill_n(data_.begin() + static_cast<ptrdiff_t>(offset), bytes, kFreed);
  }

  // The host has no memory from now on.
  void SetFull(bool full) { full_ = full; }
  uint64_t allocated_bytes() const { return PagesToBytes(allocated_.size()); }
  bool IsAllocated(uint64_t offset, uint64_t bytes) const {
    for (uint64_t page = offset / kPageBytes; page <= (offset + bytes - 1) / kPageBytes; ++page) {
      if (allocated_.count(page) == 0) return false;
    }
    return true;
  }

 private:
  static constexpr std::byte kFreed{0xdd};

  std::vector<std::byte> data_;
  std::set<uint64_t> allocated_;  // pages
  bool full_ = false;
};

}  // namespace ebb
