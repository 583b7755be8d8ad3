// SPDX-License-Identifier: MIT
#include "hostd/swap/store_pages.h"

#include <optional>
#include <span>

#include "hostd/base/test_points.h"
#include "hostd/tiers/same_filled.h"

namespace ebb {

StorePages::StorePages(GuestMemory* memory, SwapState* state, Writeback* writeback)
    : memory_(memory), state_(state), writeback_(writeback), content_(kPageBytes) {}

void StorePages::Run(std::span<const ClaimedPage> guarded, std::vector<StoredPage>* stored,
                     std::vector<ClaimedPage>* give_back) {
  pool_was_full_ = false;
  disk_was_busy_ = false;
  reads_begun_ = state_->discard_order().ReadsBegun();
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
    const Result result = untouched ? Store(page) : Result{};
    if (result.id) {
      stored->push_back({page, *result.id});
    } else if (!result.being_written) {
      give_back->push_back(page);
    }
  }
  if (!state_->discard_order().Handled(reads_begun_)) Forget(stored, give_back);
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

StorePages::Result StorePages::Store(const ClaimedPage& page) {
  if (memory_->Read(page.page, content_.data()) != OsResult::kDone) return {};
  EBB_TEST_POINT("store.read");
  if (const std::optional<uint32_t> value = SameFilledValue(content_.data())) {
    return StoreSame(page, *value);
  }
  const uint32_t length = compressor_.Compress(content_.data(), compressed_);
  if (length == 0) return StoreRaw(page);
  state_->incompressible().Forget(page.page);
  return StoreInPool(page, std::span(compressed_).first(length));
}

StorePages::Result StorePages::StoreSame(const ClaimedPage& page, uint32_t value) {
  state_->incompressible().Forget(page.page);
  if (value == 0) return {kZeroPageId};
  return {state_->table().Allocate({SwapLocation::SameFilled(value), ChecksumOf(page)})};
}

StorePages::Result StorePages::StoreInPool(const ClaimedPage& page,
                                           std::span<const std::byte> object) {
  const std::optional<PoolHandle> handle = state_->pool().Store(object);
  if (!handle) {
    pool_was_full_ = true;
    return {};
  }
  const auto length = static_cast<uint32_t>(object.size());
  const std::optional<SwapId> id = state_->table().Allocate(
      {SwapLocation::InPool(Codec::kLz4, length, *handle), ChecksumOf(page)});
  if (!id) {
    state_->pool().Free(*handle, length);
    return {};
  }
  state_->pool().SetOwner(*handle, page.page);
  state_->writeback_order().Add(*id, state_->come_backs().Has(page.page));
  return {id};
}

StorePages::Result StorePages::StoreRaw(const ClaimedPage& page) {
  const auto result = writeback_ != nullptr
                          ? writeback_->WriteRaw(page, content_.data(), reads_begun_)
                          : Writeback::RawResult::kNoRoom;
  switch (result) {
    case Writeback::RawResult::kTaken:
      state_->incompressible().Forget(page.page);
      return {std::nullopt, true};
    case Writeback::RawResult::kBusy:
      disk_was_busy_ = true;
      return {};
    case Writeback::RawResult::kNoRoom:
      break;
  }
  state_->incompressible().Note(page.page);
  return {};
}

// The generation stays the same until the page is Resident again.
uint32_t StorePages::ChecksumOf(const ClaimedPage& page) const {
  return PageChecksum(content_.data(), page.page, page.word.generation());
}

}  // namespace ebb
