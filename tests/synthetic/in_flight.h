// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <set>

#include "hostd/base/mutex.h"

namespace ebb::synthetic {

// The disk requests that are under way, so that they can be waited for as bdrv_drain_all does.
// Thread-safe.
class InFlight {
 public:
  // One request, from before the kernel sees its buffers until it is complete.
  class Request {
   public:
    explicit Request(InFlight* all) : all_(all), number_(all->Begin()) {}
    ~Request() { all_->End(number_); }
    Request(const Request&) = delete;
    Request& operator=(const Request&) = delete;

   private:
    InFlight* all_;
    uint64_t number_;
  };

  // Returns when every request that had begun before the call is complete. Later ones do not
  // matter.
  void Drain();

  // Calls of Drain that returned, and how many of them found a request to wait for.
  uint64_t drains() const;
  uint64_t drains_that_waited() const;

 private:
  uint64_t Begin();
  void End(uint64_t number);

  mutable Mutex mutex_;
  CondVar ended_;
  uint64_t next_number_ ABSL_GUARDED_BY(mutex_) = 1;
  std::set<uint64_t> numbers_ ABSL_GUARDED_BY(mutex_);
  uint64_t drains_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t drains_that_waited_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace ebb::synthetic
