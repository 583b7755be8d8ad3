// SPDX-License-Identifier: MIT
#include "hostd/page/page_words.h"

#include "hostd/base/check.h"
#include "hostd/base/wait_checks.h"

namespace ebb {

static_assert(std::atomic<uint64_t>::is_always_lock_free && sizeof(std::atomic<uint64_t>) == 8,
              "page words are shared between processes");

const char* PageStateName(PageState state) {
  switch (state) {
    case PageState::kResident:
      return "Resident";
    case PageState::kCooling:
      return "Cooling";
    case PageState::kGuarded:
      return "Guarded";
    case PageState::kSwappingOut:
      return "SwappingOut";
    case PageState::kDropping:
      return "Dropping";
    case PageState::kSwapped:
      return "Swapped";
    case PageState::kSwappingIn:
      return "SwappingIn";
    case PageState::kFixing:
      return "Fixing";
    case PageState::kLost:
      return "Lost";
  }
  return "?";
}

PageWords::PageWords(std::byte* memory, uint64_t pages)
    : words_(reinterpret_cast<std::atomic<uint64_t>*>(memory)), pages_(pages) {}

std::atomic<uint64_t>& PageWords::WordOf(PageIndex page) const {
  EBB_CHECK(page.value < pages_, "page outside the VM's RAM");
  return words_[page.value];
}

std::optional<PageWord> PageWords::TryMove(PageIndex page, PageWord from, PageState to, SwapId id) {
  EBB_CHECK(IsLegalTransition(from.state(), to), "illegal page transition");
  EBB_CHECK(!IsOwned(from.state()), "an owned page is left, not taken");
  EBB_TEST_POINT("word.move", page.value);
  const PageWord next = from.MovedTo(to, id);
  uint64_t expected = from.bits();
  if (!WordOf(page).compare_exchange_strong(expected, next.bits(), std::memory_order_acq_rel)) {
    return std::nullopt;
  }
  if (IsOwned(to)) NoteOwned(PageStateName(to));
  return next;
}

PageWord PageWords::Leave(PageIndex page, PageState to, SwapId id) {
  EBB_TEST_POINT("word.leave", page.value);
  // Only flags can change under an owner, so this loop ends after at most two retries.
  std::atomic<uint64_t>& word = WordOf(page);
  uint64_t bits = word.load(std::memory_order_acquire);
  for (;;) {
    const PageWord left(bits);
    EBB_CHECK(IsOwned(left.state()), "leaving a page that is not owned");
    EBB_CHECK(IsLegalTransition(left.state(), to), "illegal page transition");
    if (word.compare_exchange_weak(bits, left.MovedTo(to, id).bits(), std::memory_order_acq_rel)) {
      NoteLeft();
      return left;
    }
  }
}

bool PageWords::TrySetWaiter(PageIndex page, PageWord owned) {
  EBB_CHECK(IsOwned(owned.state()), "only an owned page has waiters");
  EBB_TEST_POINT("word.set_waiter", page.value);
  uint64_t expected = owned.bits();
  return WordOf(page).compare_exchange_strong(expected, owned.WithWaiter().bits(),
                                              std::memory_order_acq_rel);
}

bool PageWords::TrySetDiscarded(PageIndex page, PageWord owned) {
  EBB_CHECK(IsOwned(owned.state()), "only an owned page is marked for its owner");
  EBB_TEST_POINT("word.set_discarded", page.value);
  uint64_t expected = owned.bits();
  return WordOf(page).compare_exchange_strong(expected, owned.WithDiscarded().bits(),
                                              std::memory_order_acq_rel);
}

}  // namespace ebb
