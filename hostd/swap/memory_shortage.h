// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

#include "hostd/base/units.h"

namespace ebb {

// What a VM's faults do while the VM's memory cgroup, or the host, is full. Of what reclaim frees
// then some is left alone: QEMU needs memory itself, and without its answer to a barrier nothing
// more can be swapped out. Fault thread only.
class MemoryShortage {
 public:
  // What is left: 1 MiB.
  static constexpr uint64_t kRoomPages = BytesToPages(kMiB);
  // How often it is tried all the same, for memory may come from elsewhere. A try that fails costs
  // the kernel 10 ms.
  static constexpr int64_t kTryNs = 20 * kNsPerMs;

  // A page has found no memory. `out` and `in`: pages that have ever left and entered guest RAM.
  void Begin(uint64_t out, uint64_t in, int64_t now_ns) {
    lasts_ = true;
    out_ = out;
    in_ = in;
    next_try_ns_ = now_ns + kTryNs;
  }

  // Whether whoever needs a page now is to wait.
  bool MustWait(uint64_t out, uint64_t in, int64_t now_ns) {
    if (!lasts_) return false;
    const uint64_t left = out - out_;
    const uint64_t entered = in - in_;
    // More than was freed: it came from elsewhere.
    lasts_ = entered <= left;
    if (!lasts_ || left >= entered + kRoomPages) return false;
    if (now_ns < next_try_ns_) return true;
    next_try_ns_ = now_ns + kTryNs;
    return false;
  }

  bool lasts() const { return lasts_; }

 private:
  bool lasts_ = false;
  uint64_t out_ = 0;
  uint64_t in_ = 0;
  int64_t next_try_ns_ = 0;
};

}  // namespace ebb
