// SPDX-License-Identifier: MIT
// std::mutex with clang's thread-safety annotations. Not absl::Mutex: as packaged by Debian it
// makes ThreadSanitizer report races in correct programs. All locking of the daemon goes through
// here, so that the wait checks see it (docs/LOCKING.md).
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>

#include "absl/base/thread_annotations.h"
#include "hostd/base/lock_order.h"

namespace ebb {

class ABSL_LOCKABLE Mutex {
 public:
  // Without a name it has no place in the order of locks; every one of the daemon has one.
  Mutex() : Mutex(nullptr) {}
  explicit Mutex(const char* name) : order_(name) {}

  void Lock() ABSL_EXCLUSIVE_LOCK_FUNCTION() {
    order_.BeforeLock();
    mutex_.lock();
  }
  void Unlock() ABSL_UNLOCK_FUNCTION() {
    mutex_.unlock();
    order_.AfterUnlock();
  }

 private:
  friend class CondVar;
  std::mutex mutex_;
  [[no_unique_address]] const LockOrder order_;
};

class ABSL_SCOPED_LOCKABLE MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) ABSL_EXCLUSIVE_LOCK_FUNCTION(mutex) : mutex_(mutex) {
    mutex_.Lock();
  }
  ~MutexLock() ABSL_UNLOCK_FUNCTION() { mutex_.Unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex& mutex_;
};

class CondVar {
 public:
  void NotifyAll() { condition_.notify_all(); }

  // Both may return early; callers loop on their condition. They hold no other lock.
  void Wait(Mutex& mutex) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    mutex.order_.BeforeWait();
    std::unique_lock<std::mutex> lock(mutex.mutex_, std::adopt_lock);
    // style-ok(wait): BeforeWait has looked
    condition_.wait(lock);
    lock.release();
  }
  void WaitFor(Mutex& mutex, std::chrono::nanoseconds timeout)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    mutex.order_.BeforeWait();
    std::unique_lock<std::mutex> lock(mutex.mutex_, std::adopt_lock);
    // style-ok(wait): BeforeWait has looked
    condition_.wait_for(lock, timeout);
    lock.release();
  }

 private:
  std::condition_variable condition_;
};

}  // namespace ebb
