// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "hostd/base/test_points.h"
#include "hostd/base/units.h"
#include "hostd/page/page_word.h"

namespace ebb {

// The atomic words of a VM's pages, in memory that is all zeros at first (every page Resident) and
// outlives this object. Thread-safe and lock-free: all of the page protocol's ordering goes through
// these operations. An illegal transition is a bug that could cost bytes, and ends the daemon.
class PageWords {
 public:
  PageWords(std::byte* memory, uint64_t pages);

  static constexpr uint64_t BytesFor(uint64_t pages) { return pages * sizeof(uint64_t); }
  uint64_t pages() const { return pages_; }

  PageWord Load(PageIndex page) const {
    EBB_TEST_POINT("word.load", page.value);
    return PageWord(WordOf(page).load(std::memory_order_acquire));
  }

  // Moves the page from exactly `from` to `to`; the new word, or none if it changed meanwhile.
  // `id` goes into the new word.
  std::optional<PageWord> TryMove(PageIndex page, PageWord from, PageState to, SwapId id = {});

  // For the owner of Dropping, SwappingIn or Fixing: moves the page out to `to` and returns the
  // word it left, whose flags say what arrived meanwhile. Cannot fail.
  PageWord Leave(PageIndex page, PageState to, SwapId id = {});

  // Marks an owned page; false if it is no longer exactly `owned`, and then nothing is changed.
  bool TrySetWaiter(PageIndex page, PageWord owned);
  bool TrySetDiscarded(PageIndex page, PageWord owned);

 private:
  std::atomic<uint64_t>& WordOf(PageIndex page) const;

  std::atomic<uint64_t>* words_;
  uint64_t pages_;
};

}  // namespace ebb
