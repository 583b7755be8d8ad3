// SPDX-License-Identifier: MIT
#include "hostd/tiers/pool/span_allocator.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "hostd/base/check.h"
#include "hostd/base/units.h"

namespace ebb {
namespace {

// Pages that could be won by moving objects, of those in use, before it is worth it: each moved
// object costs as much as a fiftieth of a compression.
constexpr uint64_t kExcessShare = 64;

// In place of a slot's owner. No VM has so many pages.
constexpr uint32_t kNobody = UINT32_MAX - 2;  // not known yet
constexpr uint32_t kFreeSlot = UINT32_MAX - 1;
constexpr uint32_t kMovedAway = UINT32_MAX;

uint32_t OwnerOf(const std::byte* slot) {
  uint32_t owner;
  std::memcpy(&owner, slot, sizeof owner);
  return owner;
}
void SetOwnerOf(std::byte* slot, uint32_t owner) { std::memcpy(slot, &owner, sizeof owner); }

}  // namespace

SpanAllocator::Geometry SpanAllocator::MakeGeometry(uint32_t size_class) {
  Geometry best = {};
  double best_waste = 1;
  for (uint32_t pages = 1; pages <= kMaxSpanPages; ++pages) {
    const uint32_t slot_bytes = SlotBytes(size_class);
    const auto bytes = static_cast<uint32_t>(PagesToBytes(pages));
    const uint32_t slots = (bytes - static_cast<uint32_t>(sizeof(Span))) / slot_bytes;
    const double waste = 1 - static_cast<double>(slots) * slot_bytes / bytes;
    // A longer span must be worth it: one of each class is half empty.
    constexpr double kWorthIt = 0.02;
    if (waste >= best_waste - kWorthIt) continue;
    best = {slot_bytes, pages, slots};
    best_waste = waste;
  }
  return best;
}

const std::array<SpanAllocator::Geometry, SpanAllocator::kClasses>& SpanAllocator::Geometries() {
  static const auto geometries = [] {
    std::array<Geometry, kClasses> all;
    for (uint32_t i = 0; i < kClasses; ++i) all[i] = MakeGeometry(i);
    return all;
  }();
  return geometries;
}

SpanAllocator::SpanAllocator(PoolMemory* memory) : memory_(memory) {
  for (SizeClass& size_class : classes_) size_class.groups.fill(kNone);
  spare_.fill(kNone);
}

SpanAllocator::Span& SpanAllocator::SpanAt(uint32_t first_page) const {
  return *reinterpret_cast<Span*>(memory_->data() + PagesToBytes(first_page));
}

PoolHandle SpanAllocator::HandleOf(uint32_t first_page, uint32_t slot) const {
  const uint32_t slot_bytes = Geometries()[SpanAt(first_page).size_class].slot_bytes;
  return {(PagesToBytes(first_page) + sizeof(Span) + uint64_t{slot} * slot_bytes) /
          kPoolGrainBytes};
}

std::byte* SpanAllocator::SlotAt(uint32_t first_page, uint32_t slot) const {
  return memory_->data() + HandleOf(first_page, slot).value * kPoolGrainBytes;
}

SpanAllocator::Place SpanAllocator::Find(PoolHandle handle) const {
  const uint64_t offset = handle.value * kPoolGrainBytes;
  const uint64_t page = offset / kPageBytes;
  EBB_CHECK(page < page_in_span_.size(), "pool handle out of range");
  const auto first_page = static_cast<uint32_t>(page - page_in_span_[page]);
  const Span& span = SpanAt(first_page);
  const uint64_t in_span = offset - PagesToBytes(first_page);
  const Geometry& geometry = Geometries()[span.size_class];
  EBB_CHECK(span.used > 0 && in_span >= sizeof(Span) &&
                (in_span - sizeof(Span)) % geometry.slot_bytes == 0 &&
                (in_span - sizeof(Span)) / geometry.slot_bytes < span.never_used,
            "a pool handle that names no object");
  return {first_page, static_cast<uint32_t>((in_span - sizeof(Span)) / geometry.slot_bytes)};
}

std::optional<PoolHandle> SpanAllocator::Allocate(uint32_t bytes) {
  EBB_CHECK(bytes >= 1 && bytes <= kMaxObjectBytes, "pool object size out of range");
  const uint32_t size_class = ClassOf(bytes);
  std::optional<uint32_t> first_page = FullestPartial(size_class);
  if (!first_page) first_page = NewSpan(size_class);
  if (!first_page) return std::nullopt;
  ++classes_[size_class].objects;
  return HandleOf(*first_page, TakeSlot(*first_page));
}

void SpanAllocator::SetOwner(PoolHandle handle, PageIndex owner) {
  EBB_CHECK(owner.value < kNobody, "a pool object of a page beyond all");
  const Place place = Find(handle);
  SetOwnerOf(SlotAt(place.first_page, place.slot), static_cast<uint32_t>(owner.value));
}

std::optional<PageIndex> SpanAllocator::Owner(PoolHandle handle) const {
  const Place place = Find(handle);
  const uint32_t owner = OwnerOf(SlotAt(place.first_page, place.slot));
  if (owner >= kNobody) return std::nullopt;
  return PageIndex{owner};
}

void SpanAllocator::Free(PoolHandle handle, uint32_t bytes) {
  const Place place = Find(handle);
  EBB_CHECK(SpanAt(place.first_page).size_class == ClassOf(bytes),
            "freeing a pool object of another size");
  GiveSlot(place.first_page, static_cast<uint16_t>(place.slot));
  --classes_[ClassOf(bytes)].objects;
  // A span that is being emptied is released by FreeMoved.
  if (std::find(moving_.begin(), moving_.end(), place.first_page) != moving_.end()) return;
  if (SpanAt(place.first_page).used > 0) {
    Regroup(place.first_page);
  } else {
    Unlink(place.first_page);
    --classes_[ClassOf(bytes)].spans;
    ReleaseSpan(place.first_page);
  }
}

uint16_t SpanAllocator::TakeSlot(uint32_t first_page) {
  Span& span = SpanAt(first_page);
  uint16_t slot = span.first_free;
  if (slot == kNoSlot) {
    slot = span.never_used++;
  } else {
    std::memcpy(&span.first_free, SlotAt(first_page, slot) + kOwnerBytes, sizeof span.first_free);
  }
  ++span.used;
  SetOwnerOf(SlotAt(first_page, slot), kNobody);
  Regroup(first_page);
  return slot;
}

void SpanAllocator::GiveSlot(uint32_t first_page, uint16_t slot) {
  Span& span = SpanAt(first_page);
  std::byte* const at = SlotAt(first_page, slot);
  EBB_CHECK(OwnerOf(at) != kFreeSlot, "freeing a pool object that is not allocated");
  SetOwnerOf(at, kFreeSlot);
  std::memcpy(at + kOwnerBytes, &span.first_free, sizeof span.first_free);
  span.first_free = slot;
  --span.used;
}

// ---- Groups of partial spans
// ---------------------------------------------------------------------

void SpanAllocator::Regroup(uint32_t first_page) {
  const Span& span = SpanAt(first_page);
  const uint32_t slots = Geometries()[span.size_class].slots;
  const uint8_t group =
      span.used == slots ? kNoGroup : static_cast<uint8_t>(span.used * kGroups / slots);
  if (group == span.group) return;
  Unlink(first_page);
  if (group != kNoGroup) Link(first_page, group);
}

void SpanAllocator::Link(uint32_t first_page, uint8_t group) {
  Span& span = SpanAt(first_page);
  uint32_t& head = classes_[span.size_class].groups[group];
  span.group = group;
  span.previous = kNone;
  span.next = head;
  if (head != kNone) SpanAt(head).previous = first_page;
  head = first_page;
}

void SpanAllocator::Unlink(uint32_t first_page) {
  Span& span = SpanAt(first_page);
  if (span.group == kNoGroup) return;
  if (span.previous == kNone) {
    classes_[span.size_class].groups[span.group] = span.next;
  } else {
    SpanAt(span.previous).next = span.next;
  }
  if (span.next != kNone) SpanAt(span.next).previous = span.previous;
  span.group = kNoGroup;
}

// Into the fullest first: so the sparse ones run empty by themselves.
std::optional<uint32_t> SpanAllocator::FullestPartial(uint32_t size_class) const {
  const SizeClass& all = classes_[size_class];
  for (uint32_t group = kGroups; group-- > 0;) {
    if (all.groups[group] != kNone) return all.groups[group];
  }
  return std::nullopt;
}

// ---- Moving
// --------------------------------------------------------------------------------------

// Pages that would be won if the class's objects were packed.
uint64_t SpanAllocator::ExcessPages(uint32_t size_class) const {
  const Geometry& geometry = Geometries()[size_class];
  const SizeClass& all = classes_[size_class];
  const uint64_t needed = (all.objects + geometry.slots - 1) / geometry.slots;
  return all.spans > needed ? (all.spans - needed) * geometry.pages : 0;
}

// Of the class with most to be won; none where it is not worth it.
std::optional<uint32_t> SpanAllocator::SparsestSpan() const {
  uint64_t excess = 0;
  uint64_t most = 0;
  uint32_t worst = 0;
  for (uint32_t i = 0; i < kClasses; ++i) {
    const uint64_t pages = ExcessPages(i);
    excess += pages;
    if (pages <= most) continue;
    most = pages;
    worst = i;
  }
  if (most == 0 || excess * kExcessShare <= used_pages_) return std::nullopt;
  for (const uint32_t head : classes_[worst].groups) {
    if (head != kNone) return head;
  }
  return std::nullopt;
}

uint64_t SpanAllocator::MoveSome(uint64_t objects, const Relocate& relocate) {
  EBB_CHECK(moving_.empty(), "moving while moved objects are still to be freed");
  uint64_t moved = 0;
  uint64_t bytes = 0;
  while (moved < objects) {
    const std::optional<uint32_t> sparsest = SparsestSpan();
    if (!sparsest) break;
    // Out of its group: nothing is moved into it.
    Unlink(*sparsest);
    --classes_[SpanAt(*sparsest).size_class].spans;
    moving_.push_back(*sparsest);
    const uint64_t of_span = Empty(*sparsest, relocate);
    if (of_span == 0) break;
    moved += of_span;
    bytes += of_span * Geometries()[SpanAt(*sparsest).size_class].slot_bytes;
  }
  return bytes;
}

uint64_t SpanAllocator::Empty(uint32_t first_page, const Relocate& relocate) {
  const Span& span = SpanAt(first_page);
  const Geometry& geometry = Geometries()[span.size_class];
  uint64_t moved = 0;
  for (uint32_t slot = 0; slot < span.never_used; ++slot) {
    std::byte* const from = SlotAt(first_page, slot);
    const uint32_t owner = OwnerOf(from);
    if (owner >= kNobody) continue;
    const std::optional<uint32_t> target = FullestPartial(span.size_class);
    if (!target) break;
    const uint16_t free = TakeSlot(*target);
    std::memcpy(SlotAt(*target, free), from, geometry.slot_bytes);
    if (relocate(PageIndex{owner}, HandleOf(first_page, slot), HandleOf(*target, free))) {
      SetOwnerOf(from, kMovedAway);
      ++moved;
    } else {
      GiveSlot(*target, free);
      Regroup(*target);
    }
  }
  return moved;
}

void SpanAllocator::FreeMoved() {
  for (const uint32_t first_page : moving_) {
    const Span& span = SpanAt(first_page);
    for (uint16_t slot = 0; slot < span.never_used; ++slot) {
      if (OwnerOf(SlotAt(first_page, slot)) == kMovedAway) GiveSlot(first_page, slot);
    }
    if (span.used == 0) {
      ReleaseSpan(first_page);
    } else {
      ++classes_[span.size_class].spans;
      Regroup(first_page);
    }
  }
  moving_.clear();
}

// ---- Spans
// ---------------------------------------------------------------------------------------

std::optional<uint32_t> SpanAllocator::NewSpan(uint32_t size_class) {
  const uint32_t pages = Geometries()[size_class].pages;
  const std::optional<uint32_t> first_page = TakePages(pages);
  if (!first_page) return std::nullopt;
  for (uint32_t i = 0; i < pages; ++i) page_in_span_[*first_page + i] = static_cast<uint8_t>(i);
  SpanAt(*first_page) = {kNone, kNone, 0, kNoSlot, 0, static_cast<uint8_t>(size_class), kNoGroup};
  Link(*first_page, 0);
  ++classes_[size_class].spans;
  ++spans_;
  return first_page;
}

std::optional<uint32_t> SpanAllocator::TakePages(uint32_t pages) {
  if (spare_[pages] != kNone) {
    spare_pages_ -= pages;
    return std::exchange(spare_[pages], kNone);
  }
  // Memory that was given back before, the rest of a longer run of it, or memory never used.
  uint32_t length = pages;
  while (length <= kMaxSpanPages && returned_[length].empty()) ++length;
  const auto end = static_cast<uint32_t>(page_in_span_.size());
  const bool used_before = length <= kMaxSpanPages;
  const uint32_t first_page = used_before ? returned_[length].back() : end;
  if (PagesToBytes(uint64_t{first_page} + pages) > memory_->bytes()) return std::nullopt;
  if (!memory_->Allocate(PagesToBytes(first_page), PagesToBytes(pages))) return std::nullopt;
  if (used_before) {
    returned_[length].pop_back();
    if (length > pages) returned_[length - pages].push_back(first_page + pages);
  } else {
    page_in_span_.resize(end + pages);
  }
  used_pages_ += pages;
  return first_page;
}

void SpanAllocator::ReleaseSpan(uint32_t first_page) {
  const uint32_t pages = Geometries()[SpanAt(first_page).size_class].pages;
  --spans_;
  // Find() must not take it for one with objects.
  SpanAt(first_page).never_used = 0;
  // Some are kept, so that a class at the edge of a span does not give it back and take it again.
  if (spare_[pages] == kNone && spare_pages_ + pages <= kMaxSparePages) {
    spare_[pages] = first_page;
    spare_pages_ += pages;
    return;
  }
  memory_->Free(PagesToBytes(first_page), PagesToBytes(pages));
  used_pages_ -= pages;
  returned_[pages].push_back(first_page);
}

uint64_t SpanAllocator::bookkeeping_bytes() const {
  uint64_t bytes = sizeof *this + page_in_span_.capacity();
  for (const std::vector<uint32_t>& runs : returned_) bytes += runs.capacity() * sizeof runs[0];
  return bytes + moving_.capacity() * sizeof moving_[0];
}

}  // namespace ebb
