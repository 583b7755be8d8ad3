// SPDX-License-Identifier: MIT
#include "hostd/base/lock_order.h"

#ifdef EBB_WAIT_CHECKS

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>

#include "hostd/base/check.h"
#include "hostd/base/checked_thread.h"

namespace ebb {
namespace {

constexpr int kMaxNames = 64;

constinit std::array<std::atomic<const char*>, kMaxNames> names{};
// Bit B of word A: somebody took B while holding A.
constinit std::array<std::atomic<uint64_t>, kMaxNames> taken_under{};

int NumberOf(const char* name) {
  if (name == nullptr) return -1;
  for (int number = 0; number < kMaxNames; ++number) {
    const char* expected = nullptr;
    if (names[static_cast<size_t>(number)].compare_exchange_strong(expected, name) ||
        std::strcmp(expected, name) == 0) {
      return number;
    }
  }
  EBB_CHECK(false, "more names of locks than lock_order.cc has room for");
  return -1;
}

// Every lock that was taken under this one, or under one of those, as bits.
uint64_t ReachedFrom(int number) {
  uint64_t reached = uint64_t{1} << number;
  for (uint64_t before = 0; before != reached;) {
    before = reached;
    for (size_t i = 0; i < kMaxNames; ++i) {
      if ((before >> i & 1) != 0) reached |= taken_under[i].load();
    }
  }
  return reached;
}

}  // namespace

LockOrder::LockOrder(const char* name) : name_(name), number_(NumberOf(name)) {}

void LockOrder::BeforeLock() const {
  CheckedThread& thread = CheckedThread::Current();
  if (thread.MustNotWait()) WaitCheckFailed("takes", name());
  for (size_t i = 0; i < thread.held; ++i) {
    const LockOrder& held = *thread.locks[i];
    if (&held == this) WaitCheckFailed("takes again", name());
    if (held.number_ < 0 || number_ < 0) continue;
    // Written before it is looked at: of two threads with opposite orders one sees the other.
    taken_under[static_cast<size_t>(held.number_)].fetch_or(uint64_t{1} << number_);
    if ((ReachedFrom(number_) >> held.number_ & 1) != 0) {
      WaitCheckFailed("takes, against the order of locks,", name());
    }
  }
  EBB_CHECK(thread.held < CheckedThread::kMaxHeld, "more locks held than the checks count");
  thread.locks[thread.held++] = this;
}

void LockOrder::AfterUnlock() const {
  CheckedThread& thread = CheckedThread::Current();
  const auto end = thread.locks + thread.held;
  const auto found = std::find(thread.locks, end, this);
  EBB_CHECK(found != end, "unlocking what the thread does not hold");
  std::copy(found + 1, end, found);
  --thread.held;
}

void LockOrder::BeforeWait() const {
  const CheckedThread& thread = CheckedThread::Current();
  if (thread.MustNotWait() || thread.held != 1 || thread.locks[0] != this) {
    WaitCheckFailed("waits on a condition under", name());
  }
}

}  // namespace ebb

#endif
