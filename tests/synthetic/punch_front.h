// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <vector>

#include "hostd/base/mutex.h"
#include "tests/synthetic/guest_ram.h"

namespace ebb::synthetic {

// Finds out where pages are being taken from guest RAM right now, by looking for new holes: what a
// guest cannot know, and what lets a test touch a page in the very moment it is dropped.
// Thread-safe.
class PunchFront {
 public:
  explicit PunchFront(const GuestRam* ram);

  // Pages were taken a moment ago: it is worth calling Await often.
  bool is_moving() const;

  // The page behind one that has just been taken, if that happens soon after the call.
  std::optional<uint64_t> Await();

 private:
  using Presence = std::vector<unsigned char>;  // as mincore(2) tells it

  Presence Look(uint64_t first, uint64_t pages) const;
  std::optional<uint64_t> LookAtWindow();
  std::optional<uint64_t> AwaitHoleFrom(uint64_t first) const;

  const GuestRam* ram_;
  std::atomic<int64_t> moving_until_ns_{0};

  Mutex mutex_;
  size_t window_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<Presence> before_ ABSL_GUARDED_BY(mutex_);  // by window, at the last look
};

}  // namespace ebb::synthetic
