// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "hostd/base/units.h"
#include "hostd/page/ids.h"
#include "hostd/tiers/pool/pool_memory.h"

namespace ebb {

inline constexpr uint64_t kPoolGrainBytes = 16;

// Size-class allocator for objects that can be moved: only so does memory stay dense when the sizes
// change. A span is 1 to 8 pages of equal slots; each slot begins with the page whose object it
// holds. There is one class per 32 or 64 bytes, and each has the span length that wastes least.
//
// Moving is done in two steps, because others read objects meanwhile: MoveSome copies objects of
// the emptiest spans elsewhere and says so; FreeMoved frees the slots they left, once nobody reads
// there. All bookkeeping can be rebuilt from the live handles. Not thread-safe.
class SpanAllocator {
 public:
  static constexpr uint32_t kMaxObjectBytes = 3072;
  // Of a slot, before its object.
  static constexpr uint32_t kOwnerBytes = sizeof(uint32_t);

  explicit SpanAllocator(PoolMemory* memory);

  // None when the memory is full. 1..kMaxObjectBytes.
  std::optional<PoolHandle> Allocate(uint32_t bytes);
  // Whose object it is. What nobody owns is not moved.
  void SetOwner(PoolHandle handle, PageIndex owner);
  // None for what has no owner yet.
  std::optional<PageIndex> Owner(PoolHandle handle) const;
  // `bytes` as in Allocate.
  void Free(PoolHandle handle, uint32_t bytes);

  // The object of `owner` is at `to` now; false if it was not at `from`, and then nothing changes.
  using Relocate = std::function<bool(PageIndex owner, PoolHandle from, PoolHandle to)>;
  // Moves objects out of sparse spans, as long as that is worth it; at most a few more than
  // `objects`. Returns the bytes moved. Not while there are moved ones to be freed.
  uint64_t MoveSome(uint64_t objects, const Relocate& relocate);
  void FreeMoved();
  bool has_moved() const { return !moving_.empty(); }

  // Memory in spans, used or not.
  uint64_t used_bytes() const { return used_pages_ * 4096; }
  uint64_t spans() const { return spans_; }
  static constexpr uint32_t kSpanHeaderBytes = 16;
  // What this costs besides that memory.
  uint64_t bookkeeping_bytes() const;

 private:
  // Classes of slots up to kFineBytes are kFineStep apart, the others kCoarseStep.
  static constexpr uint32_t kFineBytes = 1024;
  static constexpr uint32_t kFineStep = 32;
  static constexpr uint32_t kCoarseStep = 64;
  static constexpr uint32_t kFineClasses = kFineBytes / kFineStep;
  static constexpr uint32_t kClasses =
      kFineClasses + (kMaxObjectBytes + kOwnerBytes - kFineBytes - 1) / kCoarseStep + 1;
  static constexpr uint32_t kMaxSpanPages = 8;
  static constexpr uint32_t kMaxSparePages = 10;
  static constexpr uint32_t kGroups = 4;  // of partial spans, by how full they are
  static constexpr uint8_t kNoGroup = kGroups;
  static constexpr uint32_t kNone = UINT32_MAX;

  struct Geometry {
    uint32_t slot_bytes;
    uint32_t pages;
    uint32_t slots;
  };
  // At the start of a span, which is named by its first page.
  struct Span {
    uint32_t next;        // in its group, or kNone
    uint32_t previous;    // or kNone
    uint16_t used;        // slots
    uint16_t first_free;  // of the slots that were freed, chained through their objects' bytes
    uint16_t never_used;  // slots from here on
    uint8_t size_class;
    uint8_t group;  // kNoGroup: it is full or being emptied
  };
  static_assert(sizeof(Span) == kSpanHeaderBytes);
  static constexpr uint16_t kNoSlot = UINT16_MAX;

  struct SizeClass {
    std::array<uint32_t, kGroups> groups;  // heads
    uint64_t spans = 0;
    uint64_t objects = 0;
  };

  static const std::array<Geometry, kClasses>& Geometries();
  static Geometry MakeGeometry(uint32_t size_class);
  static uint32_t ClassOf(uint32_t object_bytes) {
    const uint32_t bytes = object_bytes + kOwnerBytes;
    return bytes <= kFineBytes ? (bytes - 1) / kFineStep
                               : kFineClasses + (bytes - kFineBytes - 1) / kCoarseStep;
  }
  static uint32_t SlotBytes(uint32_t size_class) {
    return size_class < kFineClasses ? (size_class + 1) * kFineStep
                                     : kFineBytes + (size_class - kFineClasses + 1) * kCoarseStep;
  }

  Span& SpanAt(uint32_t first_page) const;
  std::byte* SlotAt(uint32_t first_page, uint32_t slot) const;
  PoolHandle HandleOf(uint32_t first_page, uint32_t slot) const;
  // The slot that `handle` names, checked.
  struct Place {
    uint32_t first_page;
    uint32_t slot;
  };
  Place Find(PoolHandle handle) const;

  uint16_t TakeSlot(uint32_t first_page);
  void GiveSlot(uint32_t first_page, uint16_t slot);
  void Regroup(uint32_t first_page);
  void Link(uint32_t first_page, uint8_t group);
  void Unlink(uint32_t first_page);
  std::optional<uint32_t> FullestPartial(uint32_t size_class) const;
  uint64_t ExcessPages(uint32_t size_class) const;
  std::optional<uint32_t> SparsestSpan() const;
  uint64_t Empty(uint32_t first_page, const Relocate& relocate);

  std::optional<uint32_t> NewSpan(uint32_t size_class);
  std::optional<uint32_t> TakePages(uint32_t pages);
  void ReleaseSpan(uint32_t first_page);

  PoolMemory* memory_;
  std::array<SizeClass, kClasses> classes_;
  std::vector<uint8_t> page_in_span_;  // of each page of the memory that was ever used
  std::array<std::vector<uint32_t>, kMaxSpanPages + 1> returned_;  // by length: without memory
  std::array<uint32_t, kMaxSpanPages + 1> spare_;  // by length: one with memory, or kNone
  uint32_t spare_pages_ = 0;
  std::vector<uint32_t> moving_;  // spans that were emptied, and the slots still to be freed
  uint64_t used_pages_ = 0;
  uint64_t spans_ = 0;
};

}  // namespace ebb
