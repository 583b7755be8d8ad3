// SPDX-License-Identifier: MIT
// What the wait checks know of a thread. Only in builds with -Dwait_checks=true, and only for
// wait_checks, lock_order and malloc_checks.
#pragma once

#include <cstddef>

namespace ebb {

class LockOrder;

// Plain data that needs no constructor to run: malloc looks at it before main() does anything.
struct CheckedThread {
  static constexpr size_t kMaxHeld = 8;

  static CheckedThread& Current();

  // Nobody may wait, lock or allocate.
  bool MustNotWait() const { return owned > 0 || fault_path > 0; }

  int owned = 0;                      // pages
  const char* owned_state = nullptr;  // of the one that was taken last
  int fault_path = 0;                 // scopes
  bool stands_in = false;             // inside AnotherThreadsWork
  size_t held = 0;
  const LockOrder* locks[kMaxHeld] = {};  // the first `held`, in the order they were taken
};

// Says what the calling thread was about to do and what forbids it, and ends the daemon. Allocates
// nothing. The parts of the message are put together with spaces.
[[noreturn]] void WaitCheckFailed(const char* does, const char* what);

// Does nothing; keeps the linker from leaving malloc_checks.cc out.
void LinkMallocChecks();

// Ends the daemon if the thread must neither wait nor allocate.
inline void CheckMayAllocate(const char* function) {
  if (CheckedThread::Current().MustNotWait()) [[unlikely]]
    WaitCheckFailed("calls", function);
}

}  // namespace ebb
