// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <optional>

#include "hostd/page/page_word.h"
#include "hostd/page/swap_desc.h"
#include "hostd/swap/swap_state.h"
#include "hostd/tiers/disk/block_format.h"

namespace ebb {

// The word of a page that is swapped out under the id that a block says; none for anything else. A
// block may say anything: only an id that our own words name may be looked up. Any thread.
std::optional<PageWord> SwappedMember(SwapState* state, BlockMember member);

// Makes a page of what lies at `location` in `block`; false if that is not exactly one. Nothing has
// been verified then. Any thread, safe on any input.
bool DecodeDiskObject(ConstDiskBlock block, SwapLocation location, std::byte* page);

}  // namespace ebb
