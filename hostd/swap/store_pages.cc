// SPDX-License-Identifier: MIT
#include "hostd/swap/store_pages.h"

#include "hostd/base/test_points.h"
#include "hostd/tiers/same_filled.h"

namespace ebb {

StorePages::StorePages(GuestMemory* memory, SwapState* state)
    : memory_(memory), state_(state), content_(kPageBytes) {}

void StorePages::Run(std::span<const ClaimedPage> guarded, std::vector<StoredPage>* stored,
                     std::vector<ClaimedPage>* give_back) {
  const uint64_t reads = state_->discard_order().ReadsBegun();
  const std::vector<ClaimedPage> claimed = Claim(guarded);
  if (claimed.empty()) return;
  const PageRange span = {claimed.front().page,
                          claimed.back().page.value - claimed.front().page.value + 1};
  ptes_.assign(span.count, PteState{});
  const bool ptes_known = memory_->ReadPtes(span, ptes_) == OsResult::kDone;
  EBB_TEST_POINT("store.checked");

  for (const ClaimedPage& page : claimed) {
    const PteState& pte = ptes_[page.page.value - span.first.value];
    // Present: touched, or pinned before it was protected. Not protected: a write would go unseen.
    const bool untouched = ptes_known && pte.write_protected && !pte.present;
    const std::optional<SwapId> id = untouched ? Store(page) : std::nullopt;
    if (id) {
      stored->push_back({page, *id});
    } else {
      give_back->push_back(page);
    }
  }
  if (!state_->discard_order().Handled(reads)) Forget(stored, give_back);
}

// Their copies may be younger than a discard that is still to come.
void StorePages::Forget(std::vector<StoredPage>* stored, std::vector<ClaimedPage>* give_back) {
  for (const StoredPage& page : *stored) {
    state_->table().Retire(page.id);
    give_back->push_back(page.claim);
  }
  stored->clear();
}

std::vector<ClaimedPage> StorePages::Claim(std::span<const ClaimedPage> guarded) {
  std::vector<ClaimedPage> claimed;
  claimed.reserve(guarded.size());
  for (const ClaimedPage& page : guarded) {
    const auto word = state_->words().TryMove(page.page, page.word, PageState::kSwappingOut);
    if (word) claimed.push_back({page.page, *word});
  }
  return claimed;
}

// None when there is no room for it.
std::optional<SwapId> StorePages::Store(const ClaimedPage& page) {
  if (memory_->Read(page.page, content_.data()) != OsResult::kDone) return std::nullopt;
  EBB_TEST_POINT("store.read");
  SwapDesc desc;
  // The generation stays the same until the page is Resident again.
  desc.checksum = PageChecksum(content_.data(), page.page, page.word.generation());
  if (const std::optional<uint32_t> value = SameFilledValue(content_.data())) {
    desc.location = SwapLocation::SameFilled(*value);
  } else if (const std::optional<SwapLocation> location = state_->pool().Store(content_.data())) {
    desc.location = *location;
  } else {
    return std::nullopt;
  }
  const std::optional<SwapId> id = state_->table().Allocate(desc);
  if (!id && desc.location.tier() == TierKind::kPool) state_->pool().Free(desc.location);
  return id;
}

}  // namespace ebb
