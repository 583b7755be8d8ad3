// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "hostd/page/ids.h"
#include "hostd/tiers/pool/pool_memory.h"

namespace ebb {

inline constexpr uint64_t kPoolGrainBytes = 32;

// Size-class allocator for objects of 1..4096 bytes: 64 KiB slabs, one class per 32 bytes, memory
// taken and given back by whole slabs. Objects do not move. All bookkeeping is outside the pool's
// memory and can be rebuilt from the live handles. Not thread-safe.
class SlabAllocator {
 public:
  explicit SlabAllocator(PoolMemory* memory);

  // None when the memory is full.
  std::optional<PoolHandle> Allocate(uint32_t bytes);
  // `bytes` as in Allocate.
  void Free(PoolHandle handle, uint32_t bytes);

  // Memory in slabs, used or not.
  uint64_t used_bytes() const { return slabs_in_use_ * kSlabBytes; }

 private:
  static constexpr uint64_t kSlabBytes = 64 * 1024;
  static constexpr uint32_t kClasses = 4096 / kPoolGrainBytes;
  // Empty slabs kept, so that a class at the edge of a slab does not give it back and take it
  // again.
  static constexpr size_t kSpareSlabs = 8;

  struct Slab {
    uint32_t size_class = 0;
    uint32_t used = 0;
    uint32_t partial_position = 0;  // in partial_[size_class]; valid while it has free objects
    std::vector<uint64_t> taken;    // a bit per object
  };

  static uint32_t ClassOf(uint32_t bytes) { return (bytes - 1) / kPoolGrainBytes; }
  static uint32_t ObjectBytes(uint32_t size_class) {
    return (size_class + 1) * static_cast<uint32_t>(kPoolGrainBytes);
  }
  static uint32_t ObjectsPerSlab(uint32_t size_class) {
    return static_cast<uint32_t>(kSlabBytes) / ObjectBytes(size_class);
  }

  std::optional<uint32_t> TakeSlab(uint32_t size_class);
  void ReturnSlab(uint32_t index);
  void AddPartial(uint32_t index);
  void RemovePartial(uint32_t index);

  PoolMemory* memory_;
  std::vector<Slab> slabs_;
  std::vector<uint32_t> spare_;     // empty, with memory
  std::vector<uint32_t> returned_;  // empty, without memory
  uint64_t slabs_in_use_ = 0;       // with memory
  std::array<std::vector<uint32_t>, kClasses> partial_;
};

}  // namespace ebb
