// SPDX-License-Identifier: MIT
#include "hostd/swap/fault.h"

#include <algorithm>

#include "hostd/base/test_points.h"

namespace ebb {

PageOutcome FaultHandler::Handle(PageIndex page, FaultMessage::Kind kind) {
  PageOutcome outcome;
  do {
    outcome = TryHandle(page, kind);
  } while (outcome == PageOutcome::kChanged);
  return outcome;
}

PageOutcome FaultHandler::TryHandle(PageIndex page, FaultMessage::Kind kind) {
  EBB_TEST_POINT("fault.begin");
  const PageWord word = state_->words().Load(page);
  EBB_TEST_POINT("fault.decided");
  switch (word.state()) {
    case PageState::kResident:
    case PageState::kCooling:
    case PageState::kGuarded:
    case PageState::kSwappingOut:
      // Taking it to Fixing aborts a swap-out that is under way: its next CAS fails.
      if (!state_->words().TryMove(page, word, PageState::kFixing)) return PageOutcome::kChanged;
      return Fix(page, kind);
    case PageState::kSwapped:
    case PageState::kLost:  // the caller tries again now and then: what failed may have healed
      return swap_in_.Run(page, word);
    case PageState::kDropping:
    case PageState::kSwappingIn:
    case PageState::kFixing:
      return state_->words().TrySetWaiter(page, word) ? PageOutcome::kServed
                                                      : PageOutcome::kChanged;
  }
  return PageOutcome::kLost;
}

// The page is ours, and its content is in guest RAM or it is a hole that was never used or was
// discarded by the guest. Makes it accessible whichever of these it is.
PageOutcome FaultHandler::Fix(PageIndex page, FaultMessage::Kind kind) {
  EBB_TEST_POINT("fault.fixing");
  OsResult result;
  if (kind == FaultMessage::Kind::kWriteProtect) {
    // Should it be a hole by now, the woken thread comes back with a missing fault.
    result = memory_->Unprotect(page);
  } else {
    uint64_t filled = 0;
    // Cannot overwrite: a page that is there answers kExists.
    result = memory_->FillZero({page, 1}, &filled);
    Count(state_->stats().zero_filled, filled);
    if (result == OsResult::kExists) result = memory_->Unprotect(page);
  }
  // On failure the page may stay write-protected in Resident: its next write faults again.
  const PageWord left = state_->words().Leave(page, PageState::kResident);
  if (left.waiter()) memory_->Wake({page, 1});
  switch (result) {
    case OsResult::kRetry:
      return PageOutcome::kRetry;
    case OsResult::kNoMemory:
      return PageOutcome::kNoMemory;
    case OsResult::kGone:
      return PageOutcome::kGone;
    case OsResult::kNotMapped:
      return PageOutcome::kNotMapped;
    case OsResult::kFailed:
      return PageOutcome::kFailed;
    case OsResult::kDone:
    case OsResult::kExists:
      return PageOutcome::kServed;
  }
  return PageOutcome::kFailed;
}

void FaultHandler::FillAhead(PageIndex after, uint64_t pages) {
  PageWords& words = state_->words();
  const PageIndex first = after + 1;
  if (first.value >= memory_->pages()) return;
  const uint64_t most = std::min(pages, memory_->pages() - first.value);
  const PageRange run = memory_->FirstRun({first, most});
  uint64_t owned = 0;
  for (; owned < run.count; ++owned) {
    const PageWord word = words.Load(first + owned);
    if (word.state() != PageState::kResident ||
        !words.TryMove(first + owned, word, PageState::kFixing)) {
      break;
    }
  }
  uint64_t filled = 0;
  if (owned > 0) memory_->FillZero({first, owned}, &filled);
  Count(state_->stats().zero_filled, filled);
  for (uint64_t i = 0; i < owned; ++i) {
    const PageWord left = words.Leave(first + i, PageState::kResident);
    if (left.waiter()) memory_->Wake({first + i, 1});
  }
}

}  // namespace ebb
