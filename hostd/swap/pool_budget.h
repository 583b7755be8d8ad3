// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <cstdint>

namespace ebb {

// What the pools of all VMs together may take of the host's memory. Thread-safe.
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

  uint64_t max_bytes() const { return max_bytes_; }
  uint64_t used_bytes() const { return used_bytes_.load(std::memory_order_relaxed); }

 private:
  const uint64_t max_bytes_;
  std::atomic<uint64_t> used_bytes_{0};
};

}  // namespace ebb
