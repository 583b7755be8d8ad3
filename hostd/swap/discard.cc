// SPDX-License-Identifier: MIT
#include "hostd/swap/discard.h"

#include "hostd/base/test_points.h"
#include "hostd/swap/swap_in.h"

namespace ebb {

bool TryDiscard(GuestMemory* memory, SwapState* state, PageIndex page, PageWord word) {
  PageWords& words = state->words();
  switch (word.state()) {
    case PageState::kSwapped:
      if (!words.TryMove(page, word, PageState::kResident)) return false;
      RetireRecord(state, word.swap_id());
      Count(state->stats().discarded);
      return true;
    case PageState::kLost:
      // What could not be produced is not wanted any more: the threads it blocked may go on.
      if (!words.TryMove(page, word, PageState::kSwappingIn, word.swap_id())) return false;
      words.Leave(page, PageState::kResident);
      Uncount(state->stats().lost_pages);
      RetireRecord(state, word.swap_id());
      Count(state->stats().discarded);
      memory->Wake({page, 1});
      return true;
    case PageState::kDropping:
    case PageState::kSwappingIn:
      return words.TrySetDiscarded(page, word);
    case PageState::kResident:
    case PageState::kCooling:
    case PageState::kGuarded:
    case PageState::kSwappingOut:
    case PageState::kFixing:
      return true;
  }
  return true;
}

void DiscardPages(GuestMemory* memory, SwapState* state, PageRange range) {
  EBB_TEST_POINT("discard.begin");
  for (PageIndex page = range.first; page < range.end(); page = page + 1) {
    while (!TryDiscard(memory, state, page, state->words().Load(page))) {
    }
  }
}

}  // namespace ebb
