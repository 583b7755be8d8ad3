// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "hostd/page/ids.h"
#include "hostd/page/swap_desc.h"

namespace ebb {

// SwapId -> swap_desc for one VM: a flat array of 16-byte records in memory that is zero at first
// and outlives this object.
//
// One thread, reclaim, allocates ids, moves what they name and reaps dead ones. Any thread that
// owns a page a record belongs to may Load it, Share it, and Retire it once the page is back; none
// of these blocks or allocates, so that the fault path can call them. An id that nobody names any
// more is not reused, and its storage not freed, before reclaim has reaped it.
class SwapDescTable {
 public:
  // Pages that one record can stand for.
  static constexpr uint32_t kMaxReferences = (1u << 12) - 1;

  SwapDescTable(std::byte* memory, uint32_t capacity);

  // Ids 1..capacity; id 0 has a record too, unused.
  static constexpr uint64_t BytesFor(uint32_t capacity) {
    return (uint64_t{capacity} + 1) * sizeof(Record);
  }

  // Reclaim only: a free id with `desc` stored under it, named once; none when all are taken.
  std::optional<SwapId> Allocate(const SwapDesc& desc);

  // By the owner of the page. kZeroPageId may be loaded and retired like any other.
  SwapDesc Load(SwapId id) const;
  void Retire(SwapId id);
  // Another page is going to name `id`. False when that many do that it cannot be counted: then it
  // needs a record of its own. Not for kZeroPageId.
  bool TryShare(SwapId id);
  uint32_t References(SwapId id) const;

  // Reclaim only: the content of `id` now lies at `to`, if it lay exactly at `from`.
  bool TryRelocate(SwapId id, SwapLocation from, SwapLocation to);

  // Reclaim only: hands every retired record to `free_storage`, then frees its id. What that says
  // false of stays retired: a copy of it runs.
  void Reap(const std::function<bool(SwapId, SwapLocation)>& free_storage);

  // Reclaim only, but for Age: what writeback keeps in a record in use. 0 and false at first.
  uint8_t Age(SwapId id) const;
  bool HasSecondChance(SwapId id) const;
  void SetAge(SwapId id, uint8_t age, bool second_chance);
  // No higher id was ever allocated.
  uint32_t ids_used() const { return never_used_ - 1; }

  // The ids nobody names: retired ones that wait to be reaped, then free ones that were used
  // before. For audits, while no other thread is in here; stops at `capacity` ids, so that a list
  // that was spoilt ends.
  std::vector<SwapId> UnusedIds() const;

 private:
  struct Record {
    std::atomic<uint64_t> location;
    // Bits 0-31: the checksum; once the id is retired or free, the next id of that list.
    // Bits 32-43: pages that name the id. 44-51: its age. 52: has a second chance. 53-63: 0.
    std::atomic<uint64_t> detail;
  };
  static_assert(sizeof(Record) == 16);

  static constexpr int kReferencesShift = 32;
  static constexpr uint64_t kOneReference = uint64_t{1} << kReferencesShift;
  static constexpr uint64_t kLowHalf = UINT32_MAX;
  static constexpr int kAgeShift = 44;
  static constexpr uint64_t kSecondChance = uint64_t{1} << 52;
  static constexpr uint64_t kAgeField = (uint64_t{0xff} << kAgeShift) | kSecondChance;
  static constexpr uint32_t ReferencesIn(uint64_t detail) {
    return static_cast<uint32_t>(detail >> kReferencesShift) & kMaxReferences;
  }

  Record& At(SwapId id) const;
  void Push(SwapId id);
  // Of a retired or free id: the next one of its list.
  SwapId NextInList(SwapId id) const;

  Record* records_;
  uint32_t capacity_;
  std::atomic<uint32_t> retired_{0};  // head of the list any thread pushes to
  // Reclaim only:
  uint32_t free_ = 0;        // head of the list of reaped ids
  uint32_t never_used_ = 1;  // ids from here on were never allocated
};

}  // namespace ebb
