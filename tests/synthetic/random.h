// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

namespace ebb::synthetic {

// Spreads the bits of `x` over the whole word (the finalizer of MurmurHash3).
constexpr uint64_t Mix(uint64_t x) {
  x ^= x >> 33;
  x *= 0xff51afd7ed558ccd;
  x ^= x >> 29;
  x *= 0xc4ceb9fe1a85ec53;
  return x ^ (x >> 32);
}

// Choices that a seed repeats. Not thread-safe.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(Mix(seed)) {}

  uint64_t Next() { return Mix(state_ += 0x9e3779b97f4a7c15); }
  uint64_t Below(uint64_t end) { return Next() % end; }
  bool Chance(uint64_t percent) { return Below(100) < percent; }

 private:
  uint64_t state_;
};

}  // namespace ebb::synthetic
