// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <cstdint>

#include "hostd/base/test_points.h"

namespace ebb {

// Keeps a discard that has been read and not yet handled from meeting a younger copy of its page.
//
// Reading its message releases QEMU: from then on the guest may use the page again. Were the page
// swapped out before the message is handled, the discard would take what the guest has written
// since. So a page is dropped only if every read that began before it was claimed has been handled;
// a discard that is read later finds a copy that is older than itself.
class DiscardOrder {
 public:
  // The fault thread: before it reads messages, and once all that it read is handled.
  void BeginRead() { begun_.store(begun_.load(std::memory_order_relaxed) + 1); }
  void EndRead() {
    handled_.store(begun_.load(std::memory_order_relaxed), std::memory_order_release);
  }

  // Any other thread: how many reads have begun, asked while pages are write-protected; and, with
  // their copies complete, whether these reads are handled. Never waits.
  uint64_t ReadsBegun() const { return begun_.load(); }
  bool Handled(uint64_t reads) const {
    const bool handled = handled_.load(std::memory_order_acquire) >= reads;
    EBB_TEST_POINT("discard_order.asked", handled ? 1 : 0);
    return handled;
  }

 private:
  std::atomic<uint64_t> begun_{0};
  std::atomic<uint64_t> handled_{0};
};

}  // namespace ebb
