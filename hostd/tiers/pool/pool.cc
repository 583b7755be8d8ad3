// SPDX-License-Identifier: MIT
#include "hostd/tiers/pool/pool.h"

#include <cstring>

namespace ebb {
namespace {

// A slot's object comes after its owner.
constexpr uint64_t kOwnerBytes = SpanAllocator::kOwnerBytes;

}  // namespace

Pool::Pool(PoolMemory* memory) : memory_(memory), allocator_(memory) {}

std::optional<PoolHandle> Pool::Store(std::span<const std::byte> object) {
  const auto bytes = static_cast<uint32_t>(object.size());
  const std::optional<PoolHandle> handle = allocator_.Allocate(bytes);
  if (!handle) return std::nullopt;
  std::memcpy(memory_->data() + handle->value * kPoolGrainBytes + kOwnerBytes, object.data(),
              bytes);
  objects_.fetch_add(1, std::memory_order_relaxed);
  object_bytes_.fetch_add(bytes, std::memory_order_relaxed);
  CountUsed();
  return handle;
}

void Pool::Free(PoolHandle handle, uint32_t bytes) {
  allocator_.Free(handle, bytes);
  objects_.fetch_sub(1, std::memory_order_relaxed);
  object_bytes_.fetch_sub(bytes, std::memory_order_relaxed);
  CountUsed();
}

std::span<const std::byte> Pool::Object(PoolHandle handle, uint32_t bytes) const {
  const uint64_t offset = handle.value * kPoolGrainBytes + kOwnerBytes;
  if (bytes > memory_->bytes() || offset > memory_->bytes() - bytes) return {};
  return {memory_->data() + offset, bytes};
}

bool Pool::MoveSome(uint64_t objects, const SpanAllocator::Relocate& relocate) {
  const uint64_t moved = allocator_.MoveSome(objects, relocate);
  moved_bytes_.fetch_add(moved, std::memory_order_relaxed);
  CountUsed();
  return moved > 0;
}

void Pool::FreeMoved() {
  allocator_.FreeMoved();
  CountUsed();
}

void Pool::CountUsed() {
  used_bytes_.store(allocator_.used_bytes(), std::memory_order_relaxed);
  spans_.store(allocator_.spans(), std::memory_order_relaxed);
}

PoolStats Pool::stats() const {
  return {objects_.load(std::memory_order_relaxed), object_bytes_.load(std::memory_order_relaxed),
          used_bytes_.load(std::memory_order_relaxed), spans_.load(std::memory_order_relaxed),
          moved_bytes_.load(std::memory_order_relaxed)};
}

}  // namespace ebb
