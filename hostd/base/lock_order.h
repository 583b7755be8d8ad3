// SPDX-License-Identifier: MIT
// What the wait checks know of a Mutex: that its taker may take it, and that locks are taken in one
// order (docs/LOCKING.md). Compiles to nothing without -Dwait_checks=true.
#pragma once

namespace ebb {

#ifdef EBB_WAIT_CHECKS

// The daemon ends when a thread takes a lock that it must not take: on the fault path or as owner
// of a page; one it holds; one that, directly or through others, was ever held by somebody who then
// took a lock that this thread holds, be it with no deadlock this time. Locks count by name, so two
// of one name are never held together. Those without a name (in tests) have no order. Thread-safe;
// allocates nothing and waits for nothing.
class LockOrder {
 public:
  explicit LockOrder(const char* name);  // null: no name; must outlive the program

  void BeforeLock() const;
  void AfterUnlock() const;
  // The thread waits on a condition under this lock: it must hold no other.
  void BeforeWait() const;

  const char* name() const { return name_ != nullptr ? name_ : "a lock without a name"; }

 private:
  const char* const name_;
  const int number_;  // of the name; -1 without one
};

#else

class LockOrder {
 public:
  constexpr explicit LockOrder(const char*) {}
  void BeforeLock() const {}
  void AfterUnlock() const {}
  void BeforeWait() const {}
};

#endif

}  // namespace ebb
