// SPDX-License-Identifier: MIT
#include "hostd/tiers/pool/pool.h"

#include <cstring>
#include <span>

#include "hostd/base/check.h"

namespace ebb {

Pool::Pool(PoolMemory* memory) : memory_(memory), allocator_(memory) {}

std::optional<SwapLocation> Pool::Store(const std::byte* page) {
  const uint32_t compressed = compressor_.Compress(page, scratch_);
  const Codec codec = compressed != 0 ? Codec::kLz4 : Codec::kRaw;
  const uint32_t length = compressed != 0 ? compressed : static_cast<uint32_t>(kPageBytes);
  const std::optional<PoolHandle> handle = allocator_.Allocate(length);
  if (!handle) return std::nullopt;
  std::memcpy(memory_->data() + handle->value * kPoolGrainBytes,
              compressed != 0 ? scratch_.data() : page, length);
  objects_.fetch_add(1, std::memory_order_relaxed);
  compressed_bytes_.fetch_add(length, std::memory_order_relaxed);
  used_bytes_.store(allocator_.used_bytes(), std::memory_order_relaxed);
  return SwapLocation::InPool(codec, length, *handle);
}

void Pool::Free(SwapLocation location) {
  EBB_CHECK(location.tier() == TierKind::kPool, "freeing what is not in the pool");
  allocator_.Free(location.pool_handle(), location.length_bytes());
  objects_.fetch_sub(1, std::memory_order_relaxed);
  compressed_bytes_.fetch_sub(location.length_bytes(), std::memory_order_relaxed);
  used_bytes_.store(allocator_.used_bytes(), std::memory_order_relaxed);
}

bool Pool::Load(SwapLocation location, std::byte* page) const {
  const uint64_t offset = location.pool_handle().value * kPoolGrainBytes;
  const uint32_t length = location.length_bytes();
  if (length == 0 || length > kPageBytes || offset + length > memory_->bytes()) return false;
  const std::span<const std::byte> stored(memory_->data() + offset, length);
  switch (location.codec()) {
    case Codec::kRaw:
      if (length != kPageBytes) return false;
      std::memcpy(page, stored.data(), kPageBytes);
      return true;
    case Codec::kLz4:
      return Lz4Decompress(stored, page);
  }
  return false;
}

PoolStats Pool::stats() const {
  return {PagesToBytes(objects_.load(std::memory_order_relaxed)),
          compressed_bytes_.load(std::memory_order_relaxed),
          used_bytes_.load(std::memory_order_relaxed)};
}

}  // namespace ebb
