// SPDX-License-Identifier: MIT
// Who owns a page, and who answers faults, waits for nothing (docs/LOCKING.md). Built with
// -Dwait_checks=true the daemon ends itself, saying what it was about to do, when a thread
//   - waits while it owns a page, holds a lock, or is on the fault path;
//   - takes a lock, allocates or frees while it owns a page or is on the fault path.
// Otherwise all of this compiles to nothing.
#pragma once

#ifdef EBB_WAIT_CHECKS
#include "hostd/base/checked_thread.h"
#endif

namespace ebb {

#ifdef EBB_WAIT_CHECKS

// Stands before every call that can wait, whether or not it waits this time. `what` is for the
// message: "for a client".
void MayWait(const char* what);

// The calling thread has become, or is no longer, the owner of a page.
void NoteOwned(const char* state);
void NoteLeft();

// While it lives, the calling thread is on the fault path.
class FaultPath {
 public:
  FaultPath() { ++CheckedThread::Current().fault_path; }
  ~FaultPath() { --CheckedThread::Current().fault_path; }
  FaultPath(const FaultPath&) = delete;
  FaultPath& operator=(const FaultPath&) = delete;
};

// While it lives, the calling thread stands for another one that owns nothing yet: where a
// simulated kernel or a test does on a daemon's thread what a guest's or another daemon's thread
// would do.
class AnotherThreadsWork {
 public:
  AnotherThreadsWork() : own_(CheckedThread::Current()) {
    CheckedThread::Current() = {};
    CheckedThread::Current().stands_in = true;
  }
  ~AnotherThreadsWork() { CheckedThread::Current() = own_; }
  AnotherThreadsWork(const AnotherThreadsWork&) = delete;
  AnotherThreadsWork& operator=(const AnotherThreadsWork&) = delete;

 private:
  const CheckedThread own_;
};

#else

inline void MayWait(const char*) {}
inline void NoteOwned(const char*) {}
inline void NoteLeft() {}
// With constructors, so that a scope that only has one of them is not an unused variable.
class FaultPath {
 public:
  FaultPath() {}
};
class AnotherThreadsWork {
 public:
  AnotherThreadsWork() {}
};

#endif

}  // namespace ebb
