// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "hostd/base/units.h"
#include "hostd/page/swap_desc.h"
#include "hostd/tiers/pool/lz4_codec.h"
#include "hostd/tiers/pool/pool_memory.h"
#include "hostd/tiers/pool/slab_allocator.h"

namespace ebb {

struct PoolStats {
  uint64_t original_bytes = 0;    // of the objects, uncompressed
  uint64_t compressed_bytes = 0;  // of the objects
  uint64_t used_bytes = 0;        // memory taken for them
};

// One VM's compressed pool. Nothing is shared between VMs.
//
// Store and Free belong to the reclaim thread. Load may be called by any thread that owns the page
// the object belongs to: an object never changes or moves between Store and Free. stats() may be
// called by anybody.
class Pool {
 public:
  // `memory` must outlive the pool.
  explicit Pool(PoolMemory* memory);

  // Keeps a page's content; none when the pool is full. A page that does not compress below
  // kMaxCompressedBytes is kept raw: it saves nothing, but a VM over its limit must go somewhere.
  std::optional<SwapLocation> Store(const std::byte* page);
  void Free(SwapLocation location);

  // Produces the page; false where the location or the stored bytes make no sense. The caller
  // verifies the checksum.
  bool Load(SwapLocation location, std::byte* page) const;

  PoolStats stats() const;

 private:
  // A page that saves less than an eighth is not worth decompressing.
  static constexpr uint32_t kMaxCompressedBytes = kPageBytes * 7 / 8;

  PoolMemory* memory_;
  SlabAllocator allocator_;
  Lz4Compressor compressor_;
  std::array<std::byte, kMaxCompressedBytes> scratch_;
  std::atomic<uint64_t> objects_{0};
  std::atomic<uint64_t> compressed_bytes_{0};
  std::atomic<uint64_t> used_bytes_{0};
};

}  // namespace ebb
