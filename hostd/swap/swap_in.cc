// SPDX-License-Identifier: MIT
#include "hostd/swap/swap_in.h"

#include <cstring>

#include "hostd/base/test_points.h"
#include "hostd/swap/discard.h"
#include "hostd/tiers/page_codec.h"
#include "hostd/tiers/same_filled.h"

namespace ebb {

void RetireRecord(SwapState* state, SwapId id) {
  SwapStats& stats = state->stats();
  Uncount(stats.swapped_pages);
  if (state->table().Load(id).location.tier() == TierKind::kSameFilled) {
    Uncount(stats.same_filled_pages);
  }
  state->table().Retire(id);
}

PageOutcome SwapIn::Run(PageIndex page, PageWord word) {
  if (!state_->words().TryMove(page, word, PageState::kSwappingIn, word.swap_id())) {
    return PageOutcome::kChanged;
  }
  if (word.state() == PageState::kLost) Uncount(state_->stats().lost_pages);
  EBB_TEST_POINT("swap_in.owned");
  if (!Produce(page, word)) return Lose(page, word, "its stored content fails its checksum");
  EBB_TEST_POINT("swap_in.produced");
  return Deliver(page, word);
}

// Reads the record and checks it, into the bounce buffer.
bool SwapIn::Produce(PageIndex page, PageWord word) {
  const SwapId id = word.swap_id();
  const RecordReaders::Reading reading(&reader_);
  const SwapDesc desc = state_->table().Load(id);
  switch (desc.location.tier()) {
    case TierKind::kSameFilled:
      FillSame(bounce_.data(), desc.location.same_filled_value());
      break;
    case TierKind::kPool:
      if (!Decode(desc.location)) return false;
      break;
    default:
      return false;
  }
  if (id == kZeroPageId) return true;
  if (PageChecksum(bounce_.data(), page, word.generation()) != desc.checksum) return false;
  // Under ownership the record may move, but nobody may free it.
  const SwapDesc after = state_->table().Load(id);
  return after.location.tier() != TierKind::kFree && after.checksum == desc.checksum;
}

bool SwapIn::Decode(SwapLocation location) {
  return DecodePage(location.codec(),
                    state_->pool().Object(location.pool_handle(), location.length_bytes()),
                    bounce_.data());
}

PageOutcome SwapIn::Deliver(PageIndex page, PageWord word) {
  return Settle(page, word, memory_->Fill(page, bounce_.data()));
}

PageOutcome SwapIn::Settle(PageIndex page, PageWord word, OsResult filled) {
  switch (filled) {
    case OsResult::kDone:
      return FinishInPlace(page, word);
    case OsResult::kExists:
      return FindExisting(page, word);
    case OsResult::kRetry:
      return Undo(page, word, PageOutcome::kRetry);
    case OsResult::kNoMemory:
      return Undo(page, word, PageOutcome::kNoMemory);
    case OsResult::kGone:
      return Undo(page, word, PageOutcome::kGone);
    case OsResult::kNotMapped:
      return Undo(page, word, PageOutcome::kNotMapped);
    case OsResult::kFailed:
      break;
  }
  return Undo(page, word, PageOutcome::kFailed);
}

PageOutcome SwapIn::FinishInPlace(PageIndex page, PageWord word) {
  EBB_TEST_POINT("swap_in.filled");
  const PageWord left = state_->words().Leave(page, PageState::kResident);
  if (left.waiter()) memory_->Wake({page, 1});
  RetireRecord(state_, word.swap_id());
  Count(state_->stats().swapped_in);
  return PageOutcome::kServed;
}

// There is a page where we punched a hole: somebody wrote to the RAM behind our back, or the punch
// failed and the page never left. Only identical content is safe to go on with.
PageOutcome SwapIn::FindExisting(PageIndex page, PageWord word) {
  Count(state_->stats().foreign_pages);
  std::array<std::byte, kPageBytes> existing;
  const bool same = memory_->Read(page, existing.data()) == OsResult::kDone &&
                    std::memcmp(existing.data(), bounce_.data(), kPageBytes) == 0;
  if (!same) {
    // Discarded by the guest after Fill found it: what was read is a hole, and nobody's content.
    // It stays one while the page is ours, so who is there the second time is no guest.
    const bool hole = memory_->NextPresent({page, 1}).count == 0;
    const OsResult filled = hole ? memory_->Fill(page, bounce_.data()) : OsResult::kExists;
    if (filled != OsResult::kExists) return Settle(page, word, filled);
    return Lose(page, word, "another process wrote to it while it was swapped out");
  }
  // Fill woke nobody; taking protection off does.
  if (memory_->Unprotect(page) != OsResult::kDone) return Undo(page, word, PageOutcome::kRetry);
  return FinishInPlace(page, word);
}

PageOutcome SwapIn::Undo(PageIndex page, PageWord word, PageOutcome outcome) {
  const PageWord left = state_->words().Leave(page, PageState::kSwapped, word.swap_id());
  if (left.discarded()) {
    TryDiscard(memory_, state_, page, left.MovedTo(PageState::kSwapped, word.swap_id()));
  }
  if (left.waiter()) memory_->Wake({page, 1});
  return outcome;
}

PageOutcome SwapIn::Lose(PageIndex page, PageWord word, const char* reason) {
  const PageWord left = state_->words().Leave(page, PageState::kLost, word.swap_id());
  Count(state_->stats().lost_pages);
  if (left.discarded()) {
    TryDiscard(memory_, state_, page, left.MovedTo(PageState::kLost, word.swap_id()));
  }
  // Who came while we tried asks again, and is put aside with the others that wait for this page.
  if (left.waiter()) memory_->Wake({page, 1});
  // Said once, not for every try.
  if (word.state() != PageState::kLost) state_->losses().Post(page, reason);
  return PageOutcome::kLost;
}

}  // namespace ebb
