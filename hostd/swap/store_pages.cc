// SPDX-License-Identifier: MIT
#include "hostd/swap/store_pages.h"

#include <optional>
#include <span>

#include "hostd/base/test_points.h"
#include "hostd/tiers/same_filled.h"

namespace ebb {

StorePages::StorePages(GuestMemory* memory, SwapState* state)
    : memory_(memory), state_(state), content_(kPageBytes) {}

void StorePages::Run(std::span<const ClaimedPage> guarded, std::vector<StoredPage>* stored,
                     std::vector<ClaimedPage>* give_back) {
  pool_was_full_ = false;
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

// None when the page is to stay where it is.
std::optional<SwapId> StorePages::Store(const ClaimedPage& page) {
  if (memory_->Read(page.page, content_.data()) != OsResult::kDone) return std::nullopt;
  EBB_TEST_POINT("store.read");
  const std::optional<uint32_t> value = SameFilledValue(content_.data());
  if (value) state_->incompressible().Forget(page.page);
  if (value == uint32_t{0}) return kZeroPageId;
  const std::optional<SwapLocation> location =
      value ? SwapLocation::SameFilled(*value) : StoreContent(page.page);
  if (!location) return std::nullopt;
  SwapDesc desc;
  desc.location = *location;
  // The generation stays the same until the page is Resident again.
  desc.checksum = PageChecksum(content_.data(), page.page, page.word.generation());
  const std::optional<SwapId> id = state_->table().Allocate(desc);
  if (location->tier() == TierKind::kPool) {
    if (id) {
      state_->pool().SetOwner(location->pool_handle(), *id);
    } else {
      state_->pool().Free(location->pool_handle(), location->length_bytes());
    }
  }
  return id;
}

// None when it does not compress, or the pool is full.
std::optional<SwapLocation> StorePages::StoreContent(PageIndex page) {
  const uint32_t length = compressor_.Compress(content_.data(), compressed_);
  if (length == 0) {
    state_->incompressible().Note(page);
    return std::nullopt;
  }
  state_->incompressible().Forget(page);
  const std::optional<PoolHandle> handle =
      state_->pool().Store(std::span(compressed_).first(length));
  if (!handle) {
    pool_was_full_ = true;
    return std::nullopt;
  }
  return SwapLocation::InPool(Codec::kLz4, length, *handle);
}

}  // namespace ebb
