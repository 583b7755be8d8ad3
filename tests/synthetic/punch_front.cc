// SPDX-License-Identifier: MIT
#include "tests/synthetic/punch_front.h"

#include <sys/mman.h>

#include <algorithm>
#include <utility>

#include "hostd/base/clock.h"
#include "hostd/base/units.h"

namespace ebb::synthetic {
namespace {

constexpr uint64_t kWindowPages = 2048;
// Pages leave in batches of 16, one after the other.
constexpr uint64_t kAheadPages = 32;
constexpr int64_t kPatienceNs = 200 * kNsPerUs;
constexpr int64_t kMovingNs = 50 * kNsPerMs;

// The index of the last page that is in `before` and no longer in `now`.
std::optional<uint64_t> LastTaken(const std::vector<unsigned char>& before,
                                  const std::vector<unsigned char>& now) {
  for (size_t i = std::min(before.size(), now.size()); i-- > 0;) {
    if ((before[i] & 1) != 0 && (now[i] & 1) == 0) return i;
  }
  return std::nullopt;
}

}  // namespace

PunchFront::PunchFront(const GuestRam* ram)
    : ram_(ram), before_((ram->pages() + kWindowPages - 1) / kWindowPages) {}

bool PunchFront::is_moving() const { return MonotonicNs() < moving_until_ns_; }

std::optional<uint64_t> PunchFront::Await() {
  const std::optional<uint64_t> taken = LookAtWindow();
  return taken ? AwaitHoleFrom(*taken + 1) : std::nullopt;
}

PunchFront::Presence PunchFront::Look(uint64_t first, uint64_t pages) const {
  Presence present(std::min(pages, ram_->pages() - first));
  // Asks the page cache: a page that is only unmapped is present.
  mincore(ram_->at(first), PagesToBytes(present.size()), present.data());
  return present;
}

std::optional<uint64_t> PunchFront::LookAtWindow() {
  MutexLock lock(mutex_);
  const uint64_t first = window_ * kWindowPages;
  Presence now = Look(first, kWindowPages);
  const std::optional<uint64_t> taken = LastTaken(before_[window_], now);
  before_[window_] = std::move(now);
  if (taken) moving_until_ns_ = MonotonicNs() + kMovingNs;
  const bool at_end = taken && *taken + kAheadPages >= kWindowPages;
  if (!taken || at_end) window_ = (window_ + 1) % before_.size();
  return taken ? std::optional(first + *taken) : std::nullopt;
}

std::optional<uint64_t> PunchFront::AwaitHoleFrom(uint64_t first) const {
  if (first >= ram_->pages()) return std::nullopt;
  const Presence before = Look(first, kAheadPages);
  for (const int64_t end_ns = MonotonicNs() + kPatienceNs; MonotonicNs() < end_ns;) {
    if (const auto taken = LastTaken(before, Look(first, kAheadPages))) return first + *taken + 1;
  }
  return std::nullopt;
}

}  // namespace ebb::synthetic
