// SPDX-License-Identifier: MIT
#include "hostd/swap/swap_state.h"

#include "hostd/base/test_points.h"

namespace ebb {
namespace {

// Some 50 us of copying.
constexpr uint64_t kObjectsMovedAtOnce = 128;

}  // namespace

SwapState::SwapState(const Memory& memory, uint64_t pages, uint32_t records)
    : words_(memory.words, pages),
      table_(memory.records, records),
      pool_(memory.pool),
      incompressible_(pages) {}

void SwapState::ReapRetired() {
  table_.Reap([this](SwapLocation location) {
    if (location.tier() == TierKind::kPool) {
      pool_.Free(location.pool_handle(), location.length_bytes());
    }
  });
}

bool SwapState::Compact() {
  if (pool_.has_moved()) {
    if (!readers_.HaveEnded(moved_before_)) return true;
    pool_.FreeMoved();
  }
  const bool moved =
      pool_.MoveSome(kObjectsMovedAtOnce, [this](SwapId id, PoolHandle from, PoolHandle to) {
        const SwapLocation location = table_.Load(id).location;
        if (location.tier() != TierKind::kPool || location.pool_handle() != from) return false;
        return table_.TryRelocate(
            id, location, SwapLocation::InPool(location.codec(), location.length_bytes(), to));
      });
  EBB_TEST_POINT("compact.moved");
  moved_before_ = readers_.Look();
  return moved;
}

}  // namespace ebb
