// SPDX-License-Identifier: MIT
#include "hostd/swap/disk_object.h"

#include "hostd/tiers/page_codec.h"

namespace ebb {

std::optional<PageWord> SwappedMember(SwapState* state, BlockMember member) {
  if (!member.id || member.id == kZeroPageId) return std::nullopt;
  if (member.page.value >= state->words().pages()) return std::nullopt;
  const PageWord word = state->words().Load(member.page);
  if (word.state() != PageState::kSwapped || word.swap_id() != member.id) return std::nullopt;
  return word;
}

bool DecodeDiskObject(ConstDiskBlock block, SwapLocation location, std::byte* page) {
  const uint32_t offset = location.disk_location().offset_bytes;
  if (offset + location.length_bytes() > block.size()) return false;
  return DecodePage(location.codec(), block.subspan(offset, location.length_bytes()), page);
}

}  // namespace ebb
