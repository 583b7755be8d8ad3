// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "hostd/base/unique_fd.h"
#include "hostd/os/shared_memory.h"
#include "hostd/swap/host_tiers.h"
#include "hostd/swap/swap_state.h"

namespace ebb {

// The memory of a VM's swap state: one memfd each for page words, records and pool, which hold
// offsets only. The VM carries it: the library in QEMU keeps the memfds, read-only.
class SharedSwapState {
 public:
  // Bytes of words and records of a VM with that many pages.
  static uint64_t MetadataBytes(uint64_t pages);

  // Words and records are allocated now; the pool's memory as it fills, as far as its budget
  // allows.
  static absl::StatusOr<std::unique_ptr<SharedSwapState>> Create(uint64_t pages,
                                                                 const HostTiers& tiers = {});

  SwapState& state() { return state_; }

  // Read-only descriptors of words, records and pool, in the order of wire::Accept.
  absl::StatusOr<std::array<UniqueFd, 3>> OpenReadOnly() const;

  uint64_t page_word_bytes() const { return words_.bytes(); }
  uint64_t record_bytes() const { return records_.bytes(); }

 private:
  struct Memfds {
    SharedMemory words;
    SharedMemory records;
    SharedMemory pool;
  };
  SharedSwapState(Memfds memfds, PoolBudget* pool_budget, std::unique_ptr<DiskShare> disk,
                  uint64_t pages);

  class SharedPoolMemory : public PoolMemory {
   public:
    // `weight` for its share of the budget.
    SharedPoolMemory(SharedMemory memory, PoolBudget* budget, uint64_t weight);
    ~SharedPoolMemory() override;
    std::byte* data() const override { return memory_.data(); }
    uint64_t bytes() const override { return memory_.bytes(); }
    bool Allocate(uint64_t offset, uint64_t bytes) override;
    void Free(uint64_t offset, uint64_t bytes) override;
    uint64_t ExcessBytes() const override;
    const SharedMemory& shared() const { return memory_; }

   private:
    SharedMemory memory_;
    PoolBudget* const budget_;  // null: none
    const uint64_t weight_;
    uint64_t taken_bytes_ = 0;
  };

  SharedMemory words_;
  SharedMemory records_;
  SharedPoolMemory pool_;
  SwapState state_;
};

}  // namespace ebb
