// SPDX-License-Identifier: MIT
#include "hostd/base/histogram.h"

#include <algorithm>
#include <bit>

namespace ebb {

int Histogram::BucketOf(uint64_t ns) {
  constexpr uint64_t kSub = 1 << kSubBits;
  if (ns < kSub) return static_cast<int>(ns);
  const int exponent = static_cast<int>(std::bit_width(ns)) - 1;
  const int sub = static_cast<int>((ns >> (exponent - kSubBits)) & (kSub - 1));
  return std::min(((exponent - kSubBits + 1) << kSubBits) + sub, kBuckets - 1);
}

uint64_t Histogram::UpperBound(int bucket) {
  constexpr int kSub = 1 << kSubBits;
  if (bucket < kSub) return static_cast<uint64_t>(bucket);
  const int exponent = (bucket >> kSubBits) - 1 + kSubBits;
  const uint64_t sub = static_cast<uint64_t>(bucket & (kSub - 1));
  return ((kSub + sub + 1) << (exponent - kSubBits)) - 1;
}

uint64_t Histogram::count() const {
  uint64_t total = 0;
  for (const auto& bucket : buckets_) total += bucket.load(std::memory_order_relaxed);
  return total;
}

uint64_t Histogram::PercentileNs(double quantile) const {
  const uint64_t total = count();
  if (total == 0) return 0;
  const auto rank = static_cast<uint64_t>(quantile * static_cast<double>(total - 1));
  uint64_t seen = 0;
  for (int bucket = 0; bucket < kBuckets; ++bucket) {
    seen += buckets_[bucket].load(std::memory_order_relaxed);
    if (seen > rank) return UpperBound(bucket);
  }
  return UpperBound(kBuckets - 1);
}

}  // namespace ebb
