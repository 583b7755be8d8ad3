// SPDX-License-Identifier: MIT
#include "hostd/tiers/disk/disk_tier.h"

#include <algorithm>
#include <array>
#include <utility>

#include "hostd/base/units.h"

namespace ebb {
namespace {

constexpr int64_t kFirstWritePauseNs = kNsPerS;
constexpr int64_t kMaxWritePauseNs = 30 * kNsPerS;
// Longer than a disk takes that is well.
constexpr int64_t kSlowNs = 5 * kNsPerS;
// How long it counts as stalled after somebody has said so.
constexpr int64_t kStalledForNs = 3 * kNsPerS;

// True when nothing is in flight any more.
bool HasEnded(DiskQueue* writes) {
  std::array<DiskQueue::Ended, 16> ended;
  while (writes->Reap(ended) > 0) {
  }
  return writes->in_flight() == 0;
}

}  // namespace

DiskTier::DiskTier(std::string name, std::unique_ptr<Disk> disk)
    : name_(std::move(name)), disk_(std::move(disk)), space_(disk_->bytes()) {}

void DiskTier::NoteWrite(bool ok, uint64_t blocks, int64_t now_ns) {
  if (ok) {
    written_blocks_.fetch_add(blocks, std::memory_order_relaxed);
    pause_ns_.store(0, std::memory_order_relaxed);
    return;
  }
  failed_writes_.fetch_add(1, std::memory_order_relaxed);
  // Of many that fail at once the first one counts.
  if (!MayWrite(now_ns)) return;
  const int64_t pause_ns = std::clamp(2 * pause_ns_.load(std::memory_order_relaxed),
                                      kFirstWritePauseNs, kMaxWritePauseNs);
  pause_ns_.store(pause_ns, std::memory_order_relaxed);
  no_writes_before_ns_.store(now_ns + pause_ns, std::memory_order_relaxed);
}

bool DiskTier::MayWrite(int64_t now_ns) const {
  return now_ns >= no_writes_before_ns_.load(std::memory_order_relaxed);
}

void DiskTier::NoteWaiting(int64_t since_ns, int64_t now_ns) {
  if (now_ns - since_ns <= kSlowNs) return;
  stalled_until_ns_.store(now_ns + kStalledForNs, std::memory_order_relaxed);
}

void DiskTier::Adopt(std::unique_ptr<DiskQueue> writes, std::vector<uint32_t> segments) {
  {
    MutexLock lock(mutex_);
    adopted_.push_back({std::move(writes), std::move(segments)});
    adopted_count_.store(adopted_.size());
  }
  ReapAdopted();
}

void DiskTier::ReapAdopted() {
  if (adopted_count_.load() == 0) return;
  std::vector<Adopted> ended;  // whose queues are closed without the lock
  {
    MutexLock lock(mutex_);
    const auto in_flight =
        std::partition(adopted_.begin(), adopted_.end(),
                       [](const Adopted& adopted) { return !HasEnded(adopted.writes.get()); });
    std::move(in_flight, adopted_.end(), std::back_inserter(ended));
    adopted_.erase(in_flight, adopted_.end());
    adopted_count_.store(adopted_.size());
  }
  for (const Adopted& adopted : ended) space_.GiveBack(adopted.segments);
}

DiskTier::Stats DiskTier::stats(int64_t now_ns) const {
  Stats stats;
  stats.bytes = disk_->bytes();
  stats.segments = space_.segments();
  stats.free_segments = space_.free_segments();
  stats.reads = reads_.load(std::memory_order_relaxed);
  stats.failed_reads = failed_reads_.load(std::memory_order_relaxed);
  stats.written_blocks = written_blocks_.load(std::memory_order_relaxed);
  stats.failed_writes = failed_writes_.load(std::memory_order_relaxed);
  stats.failing = pause_ns_.load(std::memory_order_relaxed) != 0;
  stats.stalled = now_ns < stalled_until_ns_.load(std::memory_order_relaxed);
  return stats;
}

}  // namespace ebb
