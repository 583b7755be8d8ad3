// SPDX-License-Identifier: MIT
#include "hostd/swap/drop.h"

#include <array>

#include "hostd/base/check.h"
#include "hostd/base/test_points.h"
#include "hostd/swap/discard.h"
#include "hostd/swap/swap_in.h"

namespace ebb {
namespace {

// Counted before the CAS into Dropping: from there on a fault may swap the page in and uncount it.
void CountSwapped(SwapState* state, SwapId id) {
  Count(state->stats().swapped_pages);
  if (state->table().Load(id).location.tier() == TierKind::kSameFilled) {
    Count(state->stats().same_filled_pages);
  }
}

void PunchRun(GuestMemory* memory, SwapState* state, PageRange run) {
  const OsResult result = memory->Punch(run);
  if (result == OsResult::kDone || result == OsResult::kGone) return;
  // The pages are still there, protected and unchanged. They may be called Swapped all the same:
  // swap-in finds them, compares, and leaves them in place.
  Count(state->stats().failed_punches);
}

}  // namespace

size_t DropPages(GuestMemory* memory, SwapState* state, std::span<const StoredPage> pages) {
  EBB_CHECK(pages.size() <= kDropBatchPages, "too many pages in Dropping");
  std::array<ClaimedPage, kDropBatchPages> dropping;
  size_t count = 0;
  for (const StoredPage& stored : pages) {
    CountSwapped(state, stored.id);
    const std::optional<PageWord> word = state->words().TryMove(
        stored.claim.page, stored.claim.word, PageState::kDropping, stored.id);
    if (word) {
      dropping[count++] = {stored.claim.page, *word};
    } else {
      RetireRecord(state, stored.id);
      Count(state->stats().given_back);
    }
  }
  const std::span<const ClaimedPage> owned(dropping.data(), count);
  EBB_TEST_POINT("drop.owned");
  ForEachRun(owned, [&](PageRange run) { PunchRun(memory, state, run); });
  EBB_TEST_POINT("drop.punched");

  for (const ClaimedPage& page : owned) {
    const PageWord left = state->words().Leave(page.page, PageState::kSwapped, page.word.swap_id());
    Count(state->stats().swapped_out);
    if (left.discarded()) {
      TryDiscard(memory, state, page.page, left.MovedTo(PageState::kSwapped, page.word.swap_id()));
    }
    // A punch wakes nobody: who arrived meanwhile comes back with a new message.
    if (left.waiter()) memory->Wake({page.page, 1});
  }
  return count;
}

void GivePagesBack(GuestMemory* memory, SwapState* state, std::span<const ClaimedPage> pages) {
  for (const ClaimedPage& claim : pages) {
    if (!state->words().TryMove(claim.page, claim.word, PageState::kFixing)) continue;
    EBB_TEST_POINT("give_back.owned");
    // A cooling page is not protected. If the kernel asks for a retry a page stays protected, and
    // its next write faults.
    if (claim.word.state() != PageState::kCooling) {
      memory->Unprotect(claim.page);
      Count(state->stats().given_back);
    }
    const PageWord left = state->words().Leave(claim.page, PageState::kResident);
    if (left.waiter()) memory->Wake({claim.page, 1});
  }
}

}  // namespace ebb
