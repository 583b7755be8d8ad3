// SPDX-License-Identifier: MIT
#include "hostd/swap/swap_state.h"

#include <utility>

#include "hostd/base/check.h"
#include "hostd/base/test_points.h"

namespace ebb {
namespace {

// Some 50 us of copying.
constexpr uint64_t kObjectsMovedAtOnce = 128;

}  // namespace

SwapState::SwapState(const Memory& memory, uint64_t pages, uint32_t records,
                     std::unique_ptr<DiskShare> disk)
    : words_(memory.words, pages),
      table_(memory.records, records),
      pool_(memory.pool),
      disk_(std::move(disk)),
      incompressible_(pages),
      come_backs_(pages),
      writeback_order_(&table_) {}

void SwapState::ReapRetired() {
  table_.Reap([this](SwapId id, SwapLocation location) {
    if (IsBeingCopied(id)) return false;
    writeback_order_.Remove(id);
    if (location.tier() == TierKind::kPool) FreeInPool(location);
    if (location.tier() == TierKind::kDisk) {
      disk_->Free(location.disk_location(), location.length_bytes());
      Uncount(stats_.disk_pages);
    }
    return true;
  });
}

bool SwapState::Compact() {
  if (pool_.has_moved() || !left_before_.empty()) {
    if (!readers_.HaveEnded(readers_then_)) return true;
    pool_.FreeMoved();
    for (const SwapLocation location : left_before_) {
      FreeInPool(location);
      leaving_bytes_ -= location.length_bytes();
    }
  }
  left_before_ = std::exchange(left_since_, {});
  const bool moved = pool_.MoveSome(
      kObjectsMovedAtOnce,
      [this](PageIndex page, PoolHandle from, PoolHandle to) { return Relocate(page, from, to); });
  EBB_TEST_POINT("compact.moved");
  readers_then_ = readers_.Look();
  return moved || !left_before_.empty();
}

// What is stored of a page and not dropped yet is not moved: its word does not say its id.
bool SwapState::Relocate(PageIndex page, PoolHandle from, PoolHandle to) {
  const SwapId id = words_.Load(page).swap_id();
  if (!id || id == kZeroPageId || IsBeingCopied(id)) return false;
  const SwapLocation location = table_.Load(id).location;
  if (location.tier() != TierKind::kPool || location.pool_handle() != from) return false;
  return table_.TryRelocate(id, location,
                            SwapLocation::InPool(location.codec(), location.length_bytes(), to));
}

void SwapState::MovedToDisk(SwapId id, SwapLocation from, SwapLocation to) {
  // Only this thread moves what a record names or frees it, and not while it is copied.
  EBB_CHECK(table_.TryRelocate(id, from, to), "an object was moved while it was being copied");
  if (from.tier() == TierKind::kDisk) {
    disk_->Free(from.disk_location(), from.length_bytes());
  } else {
    left_since_.push_back(from);
    leaving_bytes_ += from.length_bytes();
    Count(stats_.disk_pages);
    Count(stats_.written_back);
  }
}

}  // namespace ebb
