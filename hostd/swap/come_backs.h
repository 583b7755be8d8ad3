// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "hostd/base/units.h"

namespace ebb {

// Pages that came back soon after they had been swapped out: next time they stay in the pool a
// little longer. A hint: any thread may be late or early with it.
class ComeBacks {
 public:
  explicit ComeBacks(uint64_t pages) : bits_(pages / kBits + 1) {}

  void Note(PageIndex page, bool soon) {
    if (Has(page) == soon) return;
    if (soon) {
      Word(page).fetch_or(Bit(page), std::memory_order_relaxed);
    } else {
      Word(page).fetch_and(~Bit(page), std::memory_order_relaxed);
    }
  }
  bool Has(PageIndex page) const {
    return (bits_[page.value / kBits].load(std::memory_order_relaxed) & Bit(page)) != 0;
  }

 private:
  static constexpr uint64_t kBits = 64;
  static uint64_t Bit(PageIndex page) { return uint64_t{1} << (page.value % kBits); }
  std::atomic<uint64_t>& Word(PageIndex page) { return bits_[page.value / kBits]; }

  std::vector<std::atomic<uint64_t>> bits_;
};

}  // namespace ebb
