// SPDX-License-Identifier: MIT
#include "hostd/swap/swap_state.h"

namespace ebb {

SwapState::SwapState(const Memory& memory, uint64_t pages, uint32_t records)
    : words_(memory.words, pages), table_(memory.records, records), pool_(memory.pool) {}

void SwapState::ReapRetired() {
  table_.Reap([this](SwapLocation location) {
    if (location.tier() == TierKind::kPool) pool_.Free(location);
  });
}

}  // namespace ebb
