// SPDX-License-Identifier: MIT
#include "hostd/tiers/pool/slab_allocator.h"

#include <algorithm>
#include <bit>

#include "hostd/base/check.h"

namespace ebb {

SlabAllocator::SlabAllocator(PoolMemory* memory) : memory_(memory) {}

std::optional<PoolHandle> SlabAllocator::Allocate(uint32_t bytes) {
  EBB_CHECK(bytes >= 1 && bytes <= 4096, "pool object size out of range");
  const uint32_t size_class = ClassOf(bytes);
  if (partial_[size_class].empty() && !TakeSlab(size_class)) return std::nullopt;

  // The lowest slab of a small sample: objects gather in low slabs, and high ones run empty.
  const std::vector<uint32_t>& candidates = partial_[size_class];
  const size_t sample = std::min<size_t>(candidates.size(), 8);
  const uint32_t index =
      *std::min_element(candidates.end() - static_cast<ptrdiff_t>(sample), candidates.end());
  Slab& slab = slabs_[index];
  const auto word = std::find_if(slab.taken.begin(), slab.taken.end(),
                                 [](uint64_t bits) { return bits != ~uint64_t{0}; });
  EBB_CHECK(word != slab.taken.end(), "a partial slab has no free object");
  const auto object =
      static_cast<uint32_t>((word - slab.taken.begin()) * 64 + std::countr_one(*word));
  *word |= *word + 1;
  if (++slab.used == ObjectsPerSlab(size_class)) RemovePartial(index);
  const uint64_t offset = index * kSlabBytes + uint64_t{object} * ObjectBytes(size_class);
  return PoolHandle{offset / kPoolGrainBytes};
}

void SlabAllocator::Free(PoolHandle handle, uint32_t bytes) {
  const uint64_t offset = handle.value * kPoolGrainBytes;
  const auto index = static_cast<uint32_t>(offset / kSlabBytes);
  EBB_CHECK(index < slabs_.size(), "pool handle out of range");
  Slab& slab = slabs_[index];
  const uint32_t object_bytes = ObjectBytes(slab.size_class);
  const uint64_t object = (offset % kSlabBytes) / object_bytes;
  const uint64_t bit = uint64_t{1} << (object % 64);
  EBB_CHECK(slab.used > 0 && object < ObjectsPerSlab(slab.size_class) &&
                slab.size_class == ClassOf(bytes) && (offset % kSlabBytes) % object_bytes == 0 &&
                (slab.taken[object / 64] & bit) != 0,
            "freeing a pool object that is not allocated");
  slab.taken[object / 64] &= ~bit;
  if (slab.used-- == ObjectsPerSlab(slab.size_class)) AddPartial(index);
  if (slab.used == 0) {
    RemovePartial(index);
    ReturnSlab(index);
  }
}

std::optional<uint32_t> SlabAllocator::TakeSlab(uint32_t size_class) {
  uint32_t index;
  if (!spare_.empty()) {
    index = spare_.back();
    spare_.pop_back();
  } else {
    // Lowest first, so that the used part of the memory stays short.
    const auto lowest = std::min_element(returned_.begin(), returned_.end());
    index = lowest != returned_.end() ? *lowest : static_cast<uint32_t>(slabs_.size());
    if ((index + 1) * kSlabBytes > memory_->bytes()) return std::nullopt;
    if (!memory_->Allocate(index * kSlabBytes, kSlabBytes)) return std::nullopt;
    if (lowest != returned_.end()) {
      *lowest = returned_.back();
      returned_.pop_back();
    } else {
      slabs_.emplace_back();
    }
    ++slabs_in_use_;
  }
  Slab& slab = slabs_[index];
  slab.size_class = size_class;
  slab.used = 0;
  const uint32_t objects = ObjectsPerSlab(size_class);
  slab.taken.assign((objects + 63) / 64, 0);
  // Objects past the end of the slab count as taken.
  if (objects % 64 != 0) slab.taken.back() = ~uint64_t{0} << (objects % 64);
  AddPartial(index);
  return index;
}

void SlabAllocator::ReturnSlab(uint32_t index) {
  if (spare_.size() < kSpareSlabs) {
    spare_.push_back(index);
    return;
  }
  memory_->Free(index * kSlabBytes, kSlabBytes);
  --slabs_in_use_;
  returned_.push_back(index);
}

void SlabAllocator::AddPartial(uint32_t index) {
  Slab& slab = slabs_[index];
  slab.partial_position = static_cast<uint32_t>(partial_[slab.size_class].size());
  partial_[slab.size_class].push_back(index);
}

void SlabAllocator::RemovePartial(uint32_t index) {
  std::vector<uint32_t>& list = partial_[slabs_[index].size_class];
  const uint32_t position = slabs_[index].partial_position;
  list[position] = list.back();
  slabs_[list[position]].partial_position = position;
  list.pop_back();
}

}  // namespace ebb
