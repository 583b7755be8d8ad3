// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

#include "hostd/base/unique_fd.h"

namespace ebb {

// An eventfd that wakes a thread out of poll. Thread-safe; Set never blocks.
class WakeEvent {
 public:
  WakeEvent();

  void Set();
  // Forgets earlier Set calls.
  void Clear();
  int fd() const { return fd_.get(); }

 private:
  UniqueFd fd_;
};

// Whether `fd` is readable now; a pidfd is once its process has exited.
bool IsReadable(int fd);

// Waits until `fd`, `other_fd` (if it is not negative) or `event` is readable or `timeout_ns` has
// passed (negative: for ever).
struct PollResult {
  bool fd_ready = false;
  bool event_set = false;
};
PollResult WaitReadable(int fd, const WakeEvent& event, int64_t timeout_ns, int other_fd = -1);

}  // namespace ebb
