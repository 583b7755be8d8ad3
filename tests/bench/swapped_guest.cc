// SPDX-License-Identifier: MIT
#include "tests/bench/swapped_guest.h"

#include <malloc.h>

#include "hostd/base/check.h"
#include "hostd/base/clock.h"
#include "hostd/base/status_macros.h"
#include "tests/bench/process_memory.h"

namespace ebb::bench {

absl::StatusOr<std::unique_ptr<SwappedGuest>> SwappedGuest::Create(const PageData* data,
                                                                   uint64_t pages, DiskTier* disk) {
  std::unique_ptr<SwappedGuest> guest(new SwappedGuest(data, pages));
  EBB_ASSIGN_OR_RETURN(guest->shared_, SharedSwapState::Create(pages, {nullptr, disk}));
  SwapState* state = &guest->shared_->state();
  std::unique_ptr<DiskQueue> reads;
  if (disk != nullptr) {
    EBB_ASSIGN_OR_RETURN(reads, disk->OpenQueue(DiskReads::kMaxReads, kDiskBlockBytes));
  }
  guest->writeback_.emplace(state);
  guest->store_pages_.emplace(&guest->memory_, state, &*guest->writeback_);
  guest->swap_in_.emplace(&guest->memory_, state, std::move(reads));
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
  PageOutcome outcome = swap_in_->Run(page, shared_->state().words().Load(page));
  while (outcome == PageOutcome::kReading) {
    WaitReadable(swap_in_->reads_fd(), never_, -1);
    if (const auto read = swap_in_->NextRead(false)) outcome = read->outcome;
  }
  EBB_CHECK(outcome == PageOutcome::kServed, "a page did not come back");
}

void SwappedGuest::WriteBackAll() {
  while (writeback_->Run(UINT64_MAX / 2, MonotonicNs())) EndRawPages();
  EndRawPages();
  Settle();
}

void SwappedGuest::EndRawPages() {
  std::vector<StoredPage> drop;
  std::vector<ClaimedPage> give_back;
  writeback_->TakeEnded(&drop, &give_back);
  for (const StoredPage& page : drop) DropPages(&memory_, &shared_->state(), {&page, 1});
  GivePagesBack(&memory_, &shared_->state(), give_back);
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
