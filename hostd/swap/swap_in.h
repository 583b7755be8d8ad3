// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstddef>

#include "hostd/base/units.h"
#include "hostd/os/guest_memory.h"
#include "hostd/swap/outcome.h"
#include "hostd/swap/swap_state.h"

namespace ebb {

// Brings a swapped page back: Swapped -> SwappingIn -> Resident, and only then frees the record.
// What cannot be verified is never handed to the guest: the page becomes Lost.
//
// Allocates nothing and waits for nothing. Each thread that swaps in has one of its own.
class SwapIn {
 public:
  SwapIn(GuestMemory* memory, SwapState* state)
      : memory_(memory), state_(state), reader_(&state->readers()) {}

  // `word` is the page's word as just read: Swapped, or Lost to try again.
  PageOutcome Run(PageIndex page, PageWord word);

 private:
  bool Produce(PageIndex page, PageWord word);
  bool Decode(SwapLocation location);
  PageOutcome Deliver(PageIndex page, PageWord word);
  PageOutcome Settle(PageIndex page, PageWord word, OsResult filled);
  PageOutcome FinishInPlace(PageIndex page, PageWord word);
  PageOutcome FindExisting(PageIndex page, PageWord word);
  PageOutcome Undo(PageIndex page, PageWord word, PageOutcome outcome);
  PageOutcome Lose(PageIndex page, PageWord word, const char* reason);

  GuestMemory* memory_;
  SwapState* state_;
  RecordReaders::Reader reader_;
  alignas(kPageBytes) std::array<std::byte, kPageBytes> bounce_;
};

// Frees the record of a page that left Swapped for good. `id` must not be named by a word any more.
void RetireRecord(SwapState* state, SwapId id);

}  // namespace ebb
