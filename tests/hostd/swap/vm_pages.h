// SPDX-License-Identifier: MIT
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "hostd/base/clock.h"
#include "hostd/swap/drop.h"
#include "hostd/swap/shared_swap_state.h"
#include "hostd/swap/store_pages.h"
#include "tests/fakes/fake_guest_memory.h"
#include "tests/fakes/page_content.h"
#include "tests/hostd/swap/stored_page.h"

namespace ebb {

// Every wait of these tests ends after this, and then fails.
inline constexpr int64_t kTestDeadlineNs = 20 * kNsPerS;

// Waits for something another thread does; false at the deadline.
template <typename Condition>
bool WaitUntil(Condition condition) {
  const int64_t end_ns = MonotonicNs() + kTestDeadlineNs;
  while (!condition()) {
    if (MonotonicNs() > end_ns) return false;
    // style-ok(sleep): between two looks the lock that the condition takes must be free for others
    std::this_thread::sleep_for(std::chrono::microseconds(50));
  }
  return true;
}

// Pages of a VM on the simulated kernel, without any of the VM's threads.
class VmPages {
 public:
  explicit VmPages(uint64_t pages) : memory(pages) {
    memory.Register({{0}, pages});
    memory.WatchWords(&state->words());
  }

  static PageContent ContentOf(uint64_t page) { return PartlyRandomContent(page + 1, 100); }

  PageState StateOf(uint64_t page) { return state->words().Load({page}).state(); }
  // A copy that waits to be dropped.
  StoredPage Store(uint64_t page) {
    memory.Populate({page}, ContentOf(page));
    return StorePage(&memory, state, {page});
  }
  void SwapOut(uint64_t page) {
    const StoredPage stored = Store(page);
    DropPages(&memory, state, {&stored, 1});
  }
  // Spoils the stored copy of a swapped page; the same again heals it.
  void FlipStoredByte(uint64_t page) {
    const SwapId id = state->words().Load({page}).swap_id();
    const SwapLocation location = state->table().Load(id).location;
    const auto fds = shared->OpenReadOnly();
    const std::string path = "/proc/self/fd/" + std::to_string((*fds)[2].get());
    const UniqueFd pool(open(path.c_str(), O_RDWR | O_CLOEXEC));
    const auto at = static_cast<off_t>(location.pool_handle().value * kPoolGrainBytes +
                                       SpanAllocator::kOwnerBytes + 10);
    char byte = 0;
    EXPECT_EQ(pread(pool.get(), &byte, 1, at), 1);
    byte = static_cast<char>(byte ^ 1);
    EXPECT_EQ(pwrite(pool.get(), &byte, 1, at), 1);
  }

  FakeGuestMemory memory;
  std::unique_ptr<SharedSwapState> shared = *SharedSwapState::Create(memory.pages());
  SwapState* state = &shared->state();
};

}  // namespace ebb
