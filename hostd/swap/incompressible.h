// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "hostd/base/units.h"

namespace ebb {

// Pages that saved too little when they were last compressed: they stay resident, and reclaim's
// hand passes them by. Not for ever, for what is in them changes unseen: one round of the hand in
// kRetryRounds tries each again. Reclaim thread only, but for pages().
class Incompressible {
 public:
  static constexpr uint64_t kRetryRounds = 8;

  explicit Incompressible(uint64_t pages) : noted_(pages) {}

  void Note(PageIndex page) {
    if (noted_[page.value]) return;
    noted_[page.value] = true;
    pages_.fetch_add(1, std::memory_order_relaxed);
  }

  // Whether the hand passes the page by in its round `round`; else the page counts no more.
  bool PassBy(PageIndex page, uint64_t round) {
    if (!noted_[page.value]) return false;
    if ((page.value + round) % kRetryRounds != 0) return true;
    noted_[page.value] = false;
    pages_.fetch_sub(1, std::memory_order_relaxed);
    return false;
  }

  uint64_t pages() const { return pages_.load(std::memory_order_relaxed); }

 private:
  std::vector<bool> noted_;
  std::atomic<uint64_t> pages_{0};
};

}  // namespace ebb
