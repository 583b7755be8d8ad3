// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

namespace ebb {

// What the pools of all VMs together may take of the host's memory. Where there is a disk, some of
// it is kept free for what comes next, and who has more than its share makes room first.
// Thread-safe.
class PoolBudget {
 public:
  explicit PoolBudget(uint64_t max_bytes = UINT64_MAX) : max_bytes_(max_bytes) {}

  // False when it would be too much, and then nothing is taken.
  bool TryTake(uint64_t bytes) {
    uint64_t used = used_bytes_.load(std::memory_order_relaxed);
    do {
      if (bytes > max_bytes_ || used > max_bytes_ - bytes) return false;
    } while (!used_bytes_.compare_exchange_weak(used, used + bytes, std::memory_order_relaxed));
    return true;
  }
  void GiveBack(uint64_t bytes) { used_bytes_.fetch_sub(bytes, std::memory_order_relaxed); }

  // A VM whose part goes by `weight`, from now on or no more.
  void Join(uint64_t weight) { weights_.fetch_add(weight, std::memory_order_relaxed); }
  void Leave(uint64_t weight) { weights_.fetch_sub(weight, std::memory_order_relaxed); }

  // What a VM of that weight whose pool takes `vm_bytes` is to write back now.
  uint64_t Excess(uint64_t vm_bytes, uint64_t weight) const {
    const uint64_t used = used_bytes();
    const uint64_t share = Share(weight);
    return used > goal() && vm_bytes > share ? std::min(used - goal(), vm_bytes - share) : 0;
  }
  // What is meant for a VM of that weight; the others may not need theirs, and it may have more.
  uint64_t Share(uint64_t weight) const {
    const uint64_t weights = std::max(weights_.load(std::memory_order_relaxed), weight);
    if (weights == 0) return goal();
    return static_cast<uint64_t>(static_cast<double>(goal()) * static_cast<double>(weight) /
                                 static_cast<double>(weights));
  }

  uint64_t max_bytes() const { return max_bytes_; }
  uint64_t used_bytes() const { return used_bytes_.load(std::memory_order_relaxed); }

 private:
  // One in so many is kept free.
  static constexpr uint64_t kFreeShare = 16;
  uint64_t goal() const { return max_bytes_ - max_bytes_ / kFreeShare; }

  const uint64_t max_bytes_;
  std::atomic<uint64_t> weights_{0};
  std::atomic<uint64_t> used_bytes_{0};
};

}  // namespace ebb
