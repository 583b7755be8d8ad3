// SPDX-License-Identifier: MIT
// What reclaim does with one page, step by step, for tests that are not about that.
#pragma once

#include <vector>

#include "hostd/os/guest_memory.h"
#include "hostd/swap/drop.h"
#include "hostd/swap/store_pages.h"
#include "hostd/swap/swap_state.h"

namespace ebb {

// Resident -> Guarded; the page must have content.
inline ClaimedPage GuardPage(GuestMemory* memory, SwapState* state, PageIndex page) {
  PageWords& words = state->words();
  const PageWord cooling = *words.TryMove(page, words.Load(page), PageState::kCooling);
  memory->ZapPtes({page, 1});
  const ClaimedPage guarded = {page, *words.TryMove(page, cooling, PageState::kGuarded)};
  memory->WriteProtect({page, 1});
  return guarded;
}

// The same, and a copy of it that waits to be dropped.
inline StoredPage StorePage(GuestMemory* memory, SwapState* state, PageIndex page) {
  const ClaimedPage guarded = GuardPage(memory, state, page);
  std::vector<StoredPage> stored;
  std::vector<ClaimedPage> give_back;
  StorePages(memory, state).Run({&guarded, 1}, &stored, &give_back);
  return stored.at(0);
}

}  // namespace ebb
