// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <cstdint>

#include "hostd/base/histogram.h"

namespace ebb {

// Counters of one VM since attach. Written by its threads, read by anybody; all relaxed.
struct SwapStats {
  std::atomic<uint64_t> swapped_pages{0};      // now
  std::atomic<uint64_t> same_filled_pages{0};  // of them
  std::atomic<uint64_t> lost_pages{0};         // now
  std::atomic<uint64_t> disk_pages{0};         // whose content is on the disk now

  std::atomic<uint64_t> swapped_out{0};
  std::atomic<uint64_t> swapped_in{0};
  std::atomic<uint64_t> read_ahead{0};    // of them, came with another page's block
  std::atomic<uint64_t> written_back{0};  // to the disk, from the pool or as they were
  std::atomic<uint64_t> given_back{0};    // claimed, then touched or written before the drop
  std::atomic<uint64_t> discarded{0};
  std::atomic<uint64_t> zero_filled{0};  // holes that became zero pages

  std::atomic<uint64_t> faults{0};
  std::atomic<uint64_t> zero_faults{0};
  std::atomic<uint64_t> write_protect_faults{0};
  std::atomic<uint64_t> paced_faults{0};
  std::atomic<uint64_t> paced_ns{0};
  // Faults that had to wait because the host, or the VM's memory cgroup, was full.
  std::atomic<uint64_t> no_memory{0};
  // A page was there although ebbd had swapped it out: somebody wrote behind its back.
  std::atomic<uint64_t> foreign_pages{0};
  // The kernel refused to free memory of the VM that was stored.
  std::atomic<uint64_t> failed_punches{0};

  // Swap-ins for a fault: message read to page in place, in ns. Paced time counts.
  Histogram fault_latency;
};

inline void Count(std::atomic<uint64_t>& counter, uint64_t by = 1) {
  counter.fetch_add(by, std::memory_order_relaxed);
}
inline void Uncount(std::atomic<uint64_t>& counter) {
  counter.fetch_sub(1, std::memory_order_relaxed);
}

}  // namespace ebb
