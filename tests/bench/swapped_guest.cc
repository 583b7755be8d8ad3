// SPDX-License-Identifier: MIT
#include "tests/bench/swapped_guest.h"

#include <malloc.h>

#include "hostd/base/check.h"
#include "hostd/base/status_macros.h"
#include "tests/bench/process_memory.h"

namespace ebb::bench {

absl::StatusOr<std::unique_ptr<SwappedGuest>> SwappedGuest::Create(const PageData* data,
                                                                   uint64_t pages) {
  std::unique_ptr<SwappedGuest> guest(new SwappedGuest(data, pages));
  EBB_ASSIGN_OR_RETURN(guest->shared_, SharedSwapState::Create(pages));
  SwapState* state = &guest->shared_->state();
  guest->store_pages_.emplace(&guest->memory_, state);
  guest->swap_in_.emplace(&guest->memory_, state);
  return guest;
}

SwappedGuest::SwappedGuest(const PageData* data, uint64_t pages) : memory_(data, pages) {
  // What malloc keeps of memory that was freed would hide what is taken from it.
  malloc_trim(0);
  anonymous_bytes_before_ = AnonymousBytes();
  page_table_bytes_before_ = PageTableBytes();
}

void SwappedGuest::SwapOut(PageIndex first, std::span<const uint32_t> contents) {
  EBB_CHECK(contents.size() <= kBatchPages, "too many pages for a batch");
  PageWords& words = shared_->state().words();
  std::vector<ClaimedPage> guarded;
  for (size_t i = 0; i < contents.size(); ++i) {
    const PageIndex page = first + i;
    memory_.SetContent(page, contents[i]);
    const auto cooling = words.TryMove(page, words.Load(page), PageState::kCooling);
    guarded.push_back({page, *words.TryMove(page, *cooling, PageState::kGuarded)});
  }
  std::vector<StoredPage> stored;
  std::vector<ClaimedPage> given_back;
  store_pages_->Run(guarded, &stored, &given_back);
  DropPages(&memory_, &shared_->state(), stored);
  GivePagesBack(&memory_, &shared_->state(), given_back);
}

void SwappedGuest::BringBack(PageIndex page) {
  if (!IsSwapped(page)) return;
  const PageOutcome outcome = swap_in_->Run(page, shared_->state().words().Load(page));
  EBB_CHECK(outcome == PageOutcome::kServed, "a page did not come back");
}

void SwappedGuest::Settle() {
  shared_->state().ReapRetired();
  while (shared_->state().Compact()) {
  }
}

bool SwappedGuest::IsSwapped(PageIndex page) {
  return shared_->state().words().Load(page).state() == PageState::kSwapped;
}

uint32_t SwappedGuest::ObjectBytes(PageIndex page) {
  const SwapId id = shared_->state().words().Load(page).swap_id();
  const SwapLocation location = shared_->state().table().Load(id).location;
  return location.tier() == TierKind::kPool ? location.length_bytes() : 0;
}

SwappedGuest::Memory SwappedGuest::MemoryNow() const {
  return {.pool_bytes = MemfdBytes("ebb-pool"),
          .word_bytes = MemfdBytes("ebb-words"),
          .record_bytes = MemfdBytes("ebb-records"),
          .bookkeeping_bytes = AnonymousBytes() - anonymous_bytes_before_,
          .page_table_bytes = PageTableBytes() - page_table_bytes_before_};
}

}  // namespace ebb::bench
