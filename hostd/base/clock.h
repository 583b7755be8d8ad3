// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <ctime>

namespace ebb {

// Nanoseconds of CLOCK_MONOTONIC. Thread-safe. Objects whose behaviour depends on time take the
// time as an argument instead of calling this, so that tests can choose it.
inline int64_t MonotonicNs() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1000000000 + now.tv_nsec;
}

}  // namespace ebb
