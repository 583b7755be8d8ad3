// SPDX-License-Identifier: MIT
#include "hostd/page/swap_desc_table.h"

#include "hostd/base/check.h"
#include "hostd/base/test_points.h"

namespace ebb {

SwapDescTable::SwapDescTable(std::byte* memory, uint32_t capacity)
    : records_(reinterpret_cast<Record*>(memory)), capacity_(capacity) {}

SwapDescTable::Record& SwapDescTable::At(SwapId id) const {
  EBB_CHECK(id.value >= 1 && id.value <= capacity_, "SwapId out of range");
  return records_[id.value];
}

std::optional<SwapId> SwapDescTable::Allocate(const SwapDesc& desc) {
  SwapId id;
  if (free_ != 0) {
    id.value = free_;
    free_ = NextInList(id).value;
  } else if (never_used_ <= capacity_) {
    id.value = never_used_++;
  } else {
    return std::nullopt;
  }
  Record& record = At(id);
  const SwapLocation last(record.location.load(std::memory_order_relaxed));
  EBB_CHECK(last.tier() == TierKind::kFree, "allocating a record that is in use");
  EBB_TEST_POINT("record.allocate", id.value);
  record.detail.store(desc.checksum | kOneReference, std::memory_order_relaxed);
  record.location.store(desc.location.WithGeneration(last.generation() + 1).bits(),
                        std::memory_order_release);
  return id;
}

SwapId SwapDescTable::NextInList(SwapId id) const {
  return {static_cast<uint32_t>(At(id).detail.load(std::memory_order_relaxed))};
}

SwapDesc SwapDescTable::Load(SwapId id) const {
  if (id == kZeroPageId) return {SwapLocation::SameFilled(0), 0};
  EBB_TEST_POINT("record.load", id.value);
  const Record& record = At(id);
  SwapDesc desc;
  // In one order with TryRelocate and with who says that it reads (RecordReaders).
  desc.location = SwapLocation(record.location.load(std::memory_order_seq_cst));
  desc.checksum = static_cast<uint32_t>(record.detail.load(std::memory_order_relaxed));
  return desc;
}

void SwapDescTable::Retire(SwapId id) {
  if (id == kZeroPageId) return;
  EBB_TEST_POINT("record.retire", id.value);
  Record& record = At(id);
  EBB_CHECK(SwapLocation(record.location.load(std::memory_order_relaxed)).tier() != TierKind::kFree,
            "retiring a free record");
  const uint64_t before = record.detail.fetch_sub(kOneReference, std::memory_order_acq_rel);
  EBB_CHECK(ReferencesIn(before) > 0, "retiring a record that nobody names");
  if (ReferencesIn(before) > 1) return;
  Push(id);
}

// Onto the list of retired ids. Pushing with CAS and taking the whole list at once has no ABA
// problem.
void SwapDescTable::Push(SwapId id) {
  std::atomic<uint64_t>& detail = At(id).detail;
  // Reclaim may be setting its age.
  const auto name_next = [&detail](uint32_t next) {
    uint64_t seen = detail.load(std::memory_order_relaxed);
    while (
        !detail.compare_exchange_weak(seen, (seen & ~kLowHalf) | next, std::memory_order_relaxed)) {
    }
  };
  uint32_t head = retired_.load(std::memory_order_relaxed);
  do {
    name_next(head);
  } while (!retired_.compare_exchange_weak(head, id.value, std::memory_order_release,
                                           std::memory_order_relaxed));
}

bool SwapDescTable::TryShare(SwapId id) {
  std::atomic<uint64_t>& detail = At(id).detail;
  uint64_t seen = detail.load(std::memory_order_relaxed);
  do {
    EBB_CHECK(ReferencesIn(seen) > 0, "sharing a record that nobody names");
    if (ReferencesIn(seen) == kMaxReferences) return false;
  } while (!detail.compare_exchange_weak(seen, seen + kOneReference, std::memory_order_relaxed));
  return true;
}

uint32_t SwapDescTable::References(SwapId id) const {
  return ReferencesIn(At(id).detail.load(std::memory_order_relaxed));
}

bool SwapDescTable::TryRelocate(SwapId id, SwapLocation from, SwapLocation to) {
  uint64_t expected = from.bits();
  return At(id).location.compare_exchange_strong(
      expected, to.WithGeneration(from.generation() + 1).bits(), std::memory_order_seq_cst);
}

uint8_t SwapDescTable::Age(SwapId id) const {
  if (id == kZeroPageId) return 0;
  return static_cast<uint8_t>(At(id).detail.load(std::memory_order_relaxed) >> kAgeShift);
}

bool SwapDescTable::HasSecondChance(SwapId id) const {
  return (At(id).detail.load(std::memory_order_relaxed) & kSecondChance) != 0;
}

void SwapDescTable::SetAge(SwapId id, uint8_t age, bool second_chance) {
  std::atomic<uint64_t>& detail = At(id).detail;
  const uint64_t field = (uint64_t{age} << kAgeShift) | (second_chance ? kSecondChance : 0);
  uint64_t seen = detail.load(std::memory_order_relaxed);
  while (
      !detail.compare_exchange_weak(seen, (seen & ~kAgeField) | field, std::memory_order_relaxed)) {
  }
}

void SwapDescTable::Reap(const std::function<bool(SwapId, SwapLocation)>& free_storage) {
  EBB_TEST_POINT("record.reap");
  SwapId id{retired_.exchange(0, std::memory_order_acquire)};
  while (id) {
    Record& record = At(id);
    const SwapId next = NextInList(id);
    const SwapLocation location(record.location.load(std::memory_order_relaxed));
    if (!free_storage(id, location)) {
      Push(id);
      id = next;
      continue;
    }
    record.location.store(SwapLocation().WithGeneration(location.generation()).bits(),
                          std::memory_order_relaxed);
    record.detail.store(free_, std::memory_order_relaxed);
    free_ = id.value;
    id = next;
  }
}

std::vector<SwapId> SwapDescTable::UnusedIds() const {
  std::vector<SwapId> ids;
  for (const uint32_t head : {retired_.load(std::memory_order_relaxed), free_}) {
    SwapId id{head};
    for (; id && ids.size() <= capacity_; ids.push_back(id), id = NextInList(id)) {
    }
  }
  return ids;
}

}  // namespace ebb
