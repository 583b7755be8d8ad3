// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <cstdint>

#include "hostd/base/clock.h"

namespace ebb::synthetic {

// What one thread of the synthetic VM does. Thread-bound, but for progress().
class Worker {
 public:
  // What it is in the middle of. Written by the worker, read by anybody.
  struct Progress {
    std::atomic<const char*> doing{"nothing yet"};
    std::atomic<uint64_t> page{0};
    std::atomic<int64_t> since_ns{0};    // 0: idle
    std::atomic<int64_t> longest_ns{0};  // of the operations so far
  };

  virtual ~Worker() = default;

  // Writes to its guest memory for the first time.
  virtual void Fill() = 0;
  // Does one operation, or waits a moment for something to do.
  virtual void RunOne() = 0;
  // Looks at all of its guest memory.
  virtual void VerifyAll() = 0;

  const Progress& progress() const { return progress_; }

 protected:
  void Begin(const char* doing, uint64_t page) {
    progress_.doing = doing;
    progress_.page = page;
    progress_.since_ns = MonotonicNs();
  }
  void Idle() {
    const int64_t took_ns = MonotonicNs() - progress_.since_ns;
    if (took_ns > progress_.longest_ns) progress_.longest_ns = took_ns;
    progress_.since_ns = 0;
  }

 private:
  Progress progress_;
};

}  // namespace ebb::synthetic
