// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "hostd/base/units.h"
#include "hostd/page/ids.h"
#include "hostd/tiers/pool/pool_memory.h"
#include "hostd/tiers/pool/span_allocator.h"

namespace ebb {

struct PoolStats {
  uint64_t objects = 0;
  uint64_t object_bytes = 0;
  uint64_t used_bytes = 0;   // memory taken for them
  uint64_t spans = 0;        // that it consists of
  uint64_t moved_bytes = 0;  // since the start, to keep the memory dense
};

// One VM's pool in memory, of what its pages were compressed to. Nothing is shared between VMs.
//
// All but Object and stats belongs to the reclaim thread. Object may be called by any thread that
// reads under RecordReaders: where an object was, its bytes stay until FreeMoved.
class Pool {
 public:
  // `memory` must outlive the pool.
  explicit Pool(PoolMemory* memory);

  // 1 to SpanAllocator::kMaxObjectBytes; none when the pool is full.
  std::optional<PoolHandle> Store(std::span<const std::byte> object);
  // Says whose it is: what nobody owns is not moved.
  void SetOwner(PoolHandle handle, PageIndex owner) { allocator_.SetOwner(handle, owner); }
  std::optional<PageIndex> Owner(PoolHandle handle) const { return allocator_.Owner(handle); }
  void Free(PoolHandle handle, uint32_t bytes);

  // Empty where it would not lie in the pool: what a record says is not believed.
  std::span<const std::byte> Object(PoolHandle handle, uint32_t bytes) const;

  // See SpanAllocator.
  bool MoveSome(uint64_t objects, const SpanAllocator::Relocate& relocate);
  void FreeMoved();
  bool has_moved() const { return allocator_.has_moved(); }

  // Bytes that should leave for the disk, so that other VMs' pools have room, too.
  uint64_t excess_bytes() const { return memory_->ExcessBytes(); }

  PoolStats stats() const;
  uint64_t bookkeeping_bytes() const { return allocator_.bookkeeping_bytes(); }

 private:
  void CountUsed();

  PoolMemory* memory_;
  SpanAllocator allocator_;
  std::atomic<uint64_t> objects_{0};
  std::atomic<uint64_t> object_bytes_{0};
  std::atomic<uint64_t> used_bytes_{0};
  std::atomic<uint64_t> spans_{0};
  std::atomic<uint64_t> moved_bytes_{0};
};

}  // namespace ebb
