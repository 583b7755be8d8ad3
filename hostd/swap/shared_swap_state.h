// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "hostd/base/unique_fd.h"
#include "hostd/os/shared_memory.h"
#include "hostd/swap/swap_state.h"

namespace ebb {

// The memory of a VM's swap state: one memfd each for page words, records and pool, which hold
// offsets only. The VM carries it: the library in QEMU keeps the memfds, read-only.
class SharedSwapState {
 public:
  // Bytes of words and records of a VM with that many pages.
  static uint64_t MetadataBytes(uint64_t pages);

  // Words and records are allocated now; the pool's memory as it fills, up to the VM's size.
  static absl::StatusOr<std::unique_ptr<SharedSwapState>> Create(uint64_t pages);

  SwapState& state() { return state_; }

  // Read-only descriptors of words, records and pool, in the order of wire::Accept.
  absl::StatusOr<std::array<UniqueFd, 3>> OpenReadOnly() const;

  uint64_t page_word_bytes() const { return words_.bytes(); }
  uint64_t record_bytes() const { return records_.bytes(); }

 private:
  SharedSwapState(SharedMemory words, SharedMemory records, SharedMemory pool, uint64_t pages);

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

  SharedMemory words_;
  SharedMemory records_;
  SharedPoolMemory pool_;
  SwapState state_;
};

}  // namespace ebb
