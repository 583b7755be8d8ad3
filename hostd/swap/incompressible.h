// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <vector>

#include "hostd/base/units.h"

namespace ebb {

// Pages that saved too little when they were last compressed: they stay resident, and reclaim's
// hand passes them by. Not for ever, for what is in them changes unseen: an eighth of them is tried
// again in each round, once. Reclaim thread only, but for pages().
class Incompressible {
 public:
  static constexpr uint64_t kRounds = 8;

  explicit Incompressible(uint64_t pages) : noted_(pages), tried_(pages) {}

  void BeginRound() {
    ++round_;
    std::fill(tried_.begin(), tried_.end(), false);
  }

  void Note(PageIndex page) {
    tried_[page.value] = true;
    Set(page, true);
  }
  // It has been stored.
  void Forget(PageIndex page) { Set(page, false); }
  // There is nothing any more.
  void Forget(PageRange range) {
    if (pages() == 0) return;
    for (PageIndex page = range.first; page < range.end(); page = page + 1) Forget(page);
  }

  bool PassBy(PageIndex page) const {
    if (!noted_[page.value]) return false;
    return tried_[page.value] || (page.value + round_) % kRounds != 0;
  }

  uint64_t pages() const { return pages_.load(std::memory_order_relaxed); }

 private:
  void Set(PageIndex page, bool noted) {
    if (noted_[page.value] == noted) return;
    noted_[page.value] = noted;
    pages_.store(noted ? pages() + 1 : pages() - 1, std::memory_order_relaxed);
  }

  std::vector<bool> noted_;
  std::vector<bool> tried_;  // in this round
  uint64_t round_ = 0;
  std::atomic<uint64_t> pages_{0};
};

}  // namespace ebb
