// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "hostd/base/units.h"

namespace ebb {

// How much memory a VM has and may have. Written by its fault, mover and reclaim threads; read by
// anybody. All values are estimates between two refreshes.
class Residency {
 public:
  // Pages the VM may have resident; UINT64_MAX is no limit.
  void SetLimit(uint64_t pages) { limit_.store(pages, std::memory_order_relaxed); }
  uint64_t limit() const { return limit_.load(std::memory_order_relaxed); }
  bool limited() const { return limit() != UINT64_MAX; }

  // Reclaim keeps residency at or below this, a little under the limit, so that the pages that come
  // in while it works do not cross the limit.
  uint64_t target() const { return limited() ? limit() - SlackFor(limit()) : UINT64_MAX; }

  // The smallest limit under which as much as `pages` stays resident.
  static constexpr uint64_t LimitThatKeeps(uint64_t pages) {
    return pages + std::clamp<uint64_t>(pages / 63 + 1, 256, 4096);
  }

  void Refresh(uint64_t resident_pages) {
    resident_.store(static_cast<int64_t>(resident_pages), std::memory_order_relaxed);
  }
  void Add(int64_t pages) { resident_.fetch_add(pages, std::memory_order_relaxed); }
  uint64_t resident() const {
    return static_cast<uint64_t>(std::max<int64_t>(0, resident_.load(std::memory_order_relaxed)));
  }

  // Pages past their barrier: the ready reserve.
  void SetReady(uint64_t pages) { ready_.store(pages, std::memory_order_relaxed); }
  uint64_t ready() const { return ready_.load(std::memory_order_relaxed); }

  // Whether faults may be slowed down for the limit's sake.
  void SetMayPace(bool may_pace) { may_pace_.store(may_pace, std::memory_order_relaxed); }

  // A page found no memory, in the VM's cgroup or on the host. Said again as long as that lasts.
  void NoteNoMemory() { no_memory_.store(true, std::memory_order_relaxed); }
  // Whether it was said since this was last asked. For the reclaim thread.
  bool TakeNoMemory() {
    return no_memory_.load(std::memory_order_relaxed) &&
           no_memory_.exchange(false, std::memory_order_relaxed);
  }

  // The VM is at its limit and nothing can be dropped at once, or reclaim does not keep up: its
  // faults are to be slowed down.
  bool MustPace() const {
    if (!limited() || resident() < limit() || !may_pace_.load(std::memory_order_relaxed)) {
      return false;
    }
    return ready() == 0 || resident() >= limit() + SlackFor(limit());
  }

 private:
  static uint64_t SlackFor(uint64_t limit) {
    return std::min<uint64_t>(std::clamp<uint64_t>(limit / 64, 256, 4096), limit / 2);
  }

  std::atomic<uint64_t> limit_{UINT64_MAX};
  std::atomic<int64_t> resident_{0};
  std::atomic<uint64_t> ready_{0};
  std::atomic<bool> may_pace_{true};
  std::atomic<bool> no_memory_{false};
};

}  // namespace ebb
