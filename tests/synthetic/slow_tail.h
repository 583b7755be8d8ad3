// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <thread>

#include "hostd/base/mutex.h"
#include "hostd/base/unique_fd.h"

namespace ebb::synthetic {

// Pages outside of guest RAM whose first touch takes a given time. As the last buffer of a direct
// read they make a slow disk: the kernel has pinned the buffers before them, waits here, and only
// then lets the device write into all of them. Built on a userfaultfd of its own. Thread-safe.
class SlowTail {
 public:
  explicit SlowTail(size_t pages);

  // What the next touch of a page takes.
  void SetDelay(int64_t ns);
  void* page(size_t index) const;
  // Makes the next touch of the page slow again.
  void Rearm(size_t index);

 private:
  struct Touch {
    uint64_t address;
    int64_t due_ns;
  };

  void Run();
  void ReadTouches();
  void ServeDue();
  int UntilNextMs();

  const size_t pages_;
  UniqueFd userfaultfd_;
  std::byte* base_;

  Mutex mutex_;
  int64_t delay_ns_ ABSL_GUARDED_BY(mutex_) = 0;

  std::deque<Touch> touches_;  // the thread's own, as they came
  std::thread thread_;
};

}  // namespace ebb::synthetic
