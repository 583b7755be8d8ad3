// SPDX-License-Identifier: MIT
#pragma once

#include "hostd/base/units.h"
#include "hostd/os/guest_memory.h"
#include "hostd/swap/swap_state.h"

namespace ebb {

// The guest gave pages up (balloon, free page reporting): frees the records of swapped ones. Never
// punches and never zeroes: for a page in any other state its old content is a legal answer.
//
// Must run in the order in which messages were read: before any later fault of the same pages. Any
// thread; waits for nothing.
//
// The first discards the pages whatever their words become meanwhile; the second only if the page's
// word is exactly `word`, and says whether it was.
void DiscardPages(GuestMemory* memory, SwapState* state, PageRange range);
bool TryDiscard(GuestMemory* memory, SwapState* state, PageIndex page, PageWord word);

}  // namespace ebb
