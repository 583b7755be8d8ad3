// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "hostd/os/wake_event.h"
#include "hostd/swap/claimed_page.h"
#include "hostd/swap/shared_swap_state.h"
#include "hostd/swap/store_pages.h"
#include "hostd/swap/swap_in.h"
#include "hostd/swap/writeback.h"
#include "tests/bench/data_memory.h"

namespace ebb::bench {

// A VM's swap state, in memory as ebbd has it, whose pages go out and come in by ebbd's own code,
// but in one thread and without a guest. All that the bench knows of the pool is in here, except
// for how a record names a place in it (lookup_figures.cc).
class SwappedGuest {
 public:
  static constexpr uint64_t kBatchPages = kDropBatchPages;

  // Memory by what it is for, as the kernel counts it.
  struct Memory {
    uint64_t pool_bytes = 0;
    uint64_t word_bytes = 0;
    uint64_t record_bytes = 0;
    uint64_t bookkeeping_bytes = 0;  // what has no memfd, of the pool mostly
    uint64_t page_table_bytes = 0;

    uint64_t metadata_bytes() const { return word_bytes + record_bytes + bookkeeping_bytes; }
  };

  // One at a time: memfds are counted by their name. `data` must outlive it, and so must `disk`;
  // null: there is none.
  static absl::StatusOr<std::unique_ptr<SwappedGuest>> Create(const PageData* data, uint64_t pages,
                                                              DiskTier* disk = nullptr);

  uint64_t pages() const { return memory_.pages(); }

  // Swaps out the pages from `first` on, each with the content of one page of the data. At most
  // kBatchPages, all of them resident. What the pool does not take stays resident.
  void SwapOut(PageIndex first, std::span<const uint32_t> contents);
  // Everything that is in the pool, and what does not compress, goes to the disk.
  void WriteBackAll();
  uint64_t pool_objects() { return shared_->state().pool().stats().objects; }
  uint64_t disk_pages() { return shared_->state().stats().disk_pages; }
  uint64_t disk_blocks() { return shared_->state().disk()->used_blocks(); }

  // Nothing where the page is resident. Waits for the disk where the page is there.
  void BringBack(PageIndex page);
  // What reclaim does between batches: frees what came back.
  void Settle();

  bool IsSwapped(PageIndex page);
  // What the pool keeps for a swapped page; 0 for one that needs no storage.
  uint32_t ObjectBytes(PageIndex page);
  Memory MemoryNow() const;

 private:
  SwappedGuest(const PageData* data, uint64_t pages);

  void EndRawPages();

  const WakeEvent never_;
  DataMemory memory_;
  uint64_t anonymous_bytes_before_ = 0;
  uint64_t page_table_bytes_before_ = 0;
  std::unique_ptr<SharedSwapState> shared_;
  std::optional<Writeback> writeback_;
  std::optional<StorePages> store_pages_;
  std::optional<SwapIn> swap_in_;
};

}  // namespace ebb::bench
