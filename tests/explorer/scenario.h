// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

namespace ebb::explorer {

// Who takes part in an exploration, and how often each may act. Accesses of guest threads go round
// the pages: the first to page 0, the second to page 1.
struct Scenario {
  uint64_t pages = 1;
  bool populated = true;  // pages have content at first; else they are holes
  int readers = 0;        // guest threads that read a page once
  int writers = 0;        // that write a whole page once
  int devices = 0;        // requests that hold a page and write to it later
  int discards = 0;       // by the balloon
  int signals = 0;        // that make a waiting thread fault once more
  int reclaimers = 0;     // each with its queues, dropping what it stores
  int passes = 4;         // of each reclaimer
  bool eager = false;     // they also pass while a barrier runs
  int barriers = 2;       // that QEMU answers
  // One has been asked for already, for pages that were taken back since.
  bool barrier_wanted = false;
  int zaps = 0;             // by the kernel, of page 0
  int foreign_writes = 0;   // by another process, to page 0 while it is swapped out
  int prefetchers = 0;      // bring a swapped page back without a fault, once
  bool qemu_exits = false;  // at any moment
  bool has_mover = false;   // drops and gives back on a thread of its own, as the daemon does
  int refused_fills = 0;    // by a kernel that has no memory
  int failed_punches = 0;
  // That the kernel reports as done: before Linux 6.3 a page table that could not be allocated was
  // passed over ("mm/uffd: detect pgtable allocation failures").
  int lost_protections = 0;
};

}  // namespace ebb::explorer
