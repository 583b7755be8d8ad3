// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>

#include "hostd/base/units.h"

namespace ebb {

// Lost pages on their way to the log: who finds that a page is lost may be on the fault path, where
// nobody waits for whoever reads stderr, so the reclaim thread says it. Thread-safe; waits for
// nothing and allocates nothing.
class LossNotices {
 public:
  struct Notice {
    PageIndex page;
    const char* reason;
    uint64_t others;  // lost about the same time; for them there was no room
  };

  // `reason` must outlive the program.
  void Post(PageIndex page, const char* reason) {
    last_reason_.store(reason, std::memory_order_relaxed);
    Room expected = Room::kFree;
    if (!room_.compare_exchange_strong(expected, Room::kFilling, std::memory_order_acquire)) {
      others_.fetch_add(1, std::memory_order_relaxed);
      return;
    }
    page_ = page;
    reason_ = reason;
    room_.store(Room::kFull, std::memory_order_release);
  }

  // Of the last page that was lost; empty: none ever was.
  const char* last_reason() const { return last_reason_.load(std::memory_order_relaxed); }

  // One thread at a time. None when there is nothing to say.
  std::optional<Notice> Take() {
    if (room_.load(std::memory_order_acquire) != Room::kFull) return std::nullopt;
    const Notice notice = {page_, reason_, others_.exchange(0, std::memory_order_relaxed)};
    room_.store(Room::kFree, std::memory_order_release);
    return notice;
  }

 private:
  enum class Room { kFree, kFilling, kFull };

  std::atomic<Room> room_{Room::kFree};
  std::atomic<uint64_t> others_{0};
  std::atomic<const char*> last_reason_{""};
  // Of whoever took the room.
  PageIndex page_;
  const char* reason_ = nullptr;
};

}  // namespace ebb
