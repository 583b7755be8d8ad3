// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "hostd/base/unique_fd.h"
#include "hostd/os/shared_memory.h"
#include "hostd/page/page_words.h"
#include "hostd/page/swap_desc_table.h"
#include "hostd/swap/swap_stats.h"
#include "hostd/tiers/pool/pool.h"

namespace ebb {

// A VM's swap state: page words, swap_desc records and the pool, each in a memfd of its own that
// holds offsets only. The VM carries it: the library in QEMU keeps the memfds, read-only.
class SwapState {
 public:
  // Bytes of words and records of a VM with that many pages.
  static uint64_t MetadataBytes(uint64_t pages);

  // Words and records are allocated now; the pool's memory as it fills, up to the VM's size.
  static absl::StatusOr<std::unique_ptr<SwapState>> Create(uint64_t pages);

  PageWords& words() { return words_; }
  SwapDescTable& table() { return table_; }
  Pool& pool() { return pool_; }
  SwapStats& stats() { return stats_; }

  // Read-only descriptors of words, records and pool, in the order of wire::Accept.
  absl::StatusOr<std::array<UniqueFd, 3>> OpenReadOnly() const;

  uint64_t page_word_bytes() const { return words_memory_.bytes(); }
  uint64_t record_bytes() const { return records_memory_.bytes(); }

  // Frees the storage of retired records. Reclaim thread only.
  void ReapRetired();

 private:
  SwapState(SharedMemory words, SharedMemory records, SharedMemory pool, uint64_t pages);

  class SharedPoolMemory : public PoolMemory {
   public:
    explicit SharedPoolMemory(SharedMemory memory) : memory_(std::move(memory)) {}
    std::byte* data() const override { return memory_.data(); }
    uint64_t bytes() const override { return memory_.bytes(); }
    bool Allocate(uint64_t offset, uint64_t bytes) override {
      return memory_.Populate(offset, bytes);
    }
    void Free(uint64_t offset, uint64_t bytes) override { memory_.Free(offset, bytes); }
    const SharedMemory& shared() const { return memory_; }

   private:
    SharedMemory memory_;
  };

  SharedMemory words_memory_;
  SharedMemory records_memory_;
  SharedPoolMemory pool_memory_;
  PageWords words_;
  SwapDescTable table_;
  Pool pool_;
  SwapStats stats_;
};

}  // namespace ebb
