// SPDX-License-Identifier: MIT
#pragma once

#include <span>

#include "hostd/os/guest_memory.h"
#include "hostd/swap/claimed_page.h"
#include "hostd/swap/swap_state.h"

namespace ebb {

// The last step of a swap-out, and the way back for pages that did not make it. Everything here
// owns pages for a moment, so it runs at the fault thread's priority: a fault that meets Dropping
// or Fixing waits until the owner has run.

// No more pages than this are in Dropping at once: that is how long a fault may have to wait.
inline constexpr size_t kDropBatchPages = 16;

// Drops pages whose content is stored: SwappingOut -> Dropping -> Swapped. The word of each carries
// no id yet; `ids` says under which SwapId its record is complete. A page that was taken back since
// has its copy thrown away. At most kDropBatchPages, of one run, ascending. Returns how many were
// dropped.
struct StoredPage {
  ClaimedPage claim;  // in SwappingOut
  SwapId id;
};
size_t DropPages(GuestMemory* memory, SwapState* state, std::span<const StoredPage> pages);

// Makes claimed pages plainly Resident again, without their protection: via Fixing.
void GivePagesBack(GuestMemory* memory, SwapState* state, std::span<const ClaimedPage> pages);

}  // namespace ebb
