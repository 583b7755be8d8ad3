// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

namespace ebb {

// Log-linear histogram of durations in nanoseconds: 8 buckets per power of two, so a percentile is
// at most 12.5 % above the true value. Thread-safe; Add is one relaxed increment and never
// allocates. Percentile reads while others add and may be off by what was added meanwhile.
class Histogram {
 public:
  void Add(int64_t ns) {
    buckets_[BucketOf(ns < 0 ? 0 : static_cast<uint64_t>(ns))].fetch_add(1,
                                                                         std::memory_order_relaxed);
  }

  uint64_t count() const;

  // Upper bound of the bucket that holds the given quantile (0..1), in ns; 0 when empty.
  uint64_t PercentileNs(double quantile) const;

 private:
  static constexpr int kSubBits = 3;
  static constexpr int kBuckets = 48 << kSubBits;  // 2^48 ns is 78 hours; longer is clamped

  static int BucketOf(uint64_t ns);
  static uint64_t UpperBound(int bucket);

  std::array<std::atomic<uint64_t>, kBuckets> buckets_{};
};

}  // namespace ebb
