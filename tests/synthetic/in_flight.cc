// SPDX-License-Identifier: MIT
#include "tests/synthetic/in_flight.h"

namespace ebb::synthetic {

uint64_t InFlight::Begin() {
  MutexLock lock(mutex_);
  numbers_.insert(next_number_);
  return next_number_++;
}

void InFlight::End(uint64_t number) {
  MutexLock lock(mutex_);
  numbers_.erase(number);
  ended_.NotifyAll();
}

void InFlight::Drain() {
  MutexLock lock(mutex_);
  const uint64_t end = next_number_;
  bool waited = false;
  while (!numbers_.empty() && *numbers_.begin() < end) {
    waited = true;
    ended_.Wait(mutex_);
  }
  ++drains_;
  drains_that_waited_ += waited ? 1 : 0;
}

uint64_t InFlight::drains() const {
  MutexLock lock(mutex_);
  return drains_;
}

uint64_t InFlight::drains_that_waited() const {
  MutexLock lock(mutex_);
  return drains_that_waited_;
}

}  // namespace ebb::synthetic
