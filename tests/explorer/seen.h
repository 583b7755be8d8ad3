// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <vector>

#include "hostd/page/page_word.h"
#include "hostd/page/swap_desc.h"

namespace ebb {
class SwapState;
}

namespace ebb::explorer {

// One thing that a thread of ebbd got to see of what it shares with others.
struct Seen {
  enum class Kind : uint8_t { kValue, kWord, kRecord };
  Kind kind = Kind::kValue;
  uint32_t of = 0;     // page or record
  uint64_t value = 0;  // a record's location
  uint64_t holds = 0;  // a record's: for which pages it holds the right content, as a bit each

  static Seen Value(uint64_t value) { return {Kind::kValue, 0, value, 0}; }
  static Seen Word(PageIndex page, PageWord word) {
    return {Kind::kWord, static_cast<uint32_t>(page.value), word.bits(), 0};
  }
};

// Where it is and what its variables hold, as what it saw.
using Sight = std::vector<Seen>;

// The words and records of a VM as numbers that are equal where what can still happen is equal.
// Generations count for what they are compared with: whether a word seen earlier is of the page's
// present life, and not how many lives the page has had.
class Likeness {
 public:
  Likeness(SwapState* state, uint64_t pages, uint32_t records)
      : state_(state), pages_(pages), records_(records) {}

  uint64_t Words() const;
  uint64_t Records() const;
  uint64_t Of(const Sight& sight) const;

  Seen WordNow(PageIndex page) const;
  Seen RecordNow(SwapId id) const;

 private:
  uint64_t Of(const Seen& seen) const;
  uint64_t RightPages(const SwapDesc& desc) const;

  SwapState* const state_;
  const uint64_t pages_;
  const uint32_t records_;
};

}  // namespace ebb::explorer
