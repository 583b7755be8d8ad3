// SPDX-License-Identifier: MIT
#include "hostd/tiers/disk/pack_blocks.h"

#include <algorithm>
#include <array>
#include <bit>
#include <numeric>

#include "hostd/base/check.h"
#include "hostd/tiers/disk/block_format.h"

namespace ebb {
namespace {

// Room in a block is counted in steps of what every need is a multiple of.
constexpr uint32_t kRoomStep = BlockWriter::kMemberBytes;
constexpr uint32_t kRooms = BlockWriter::kCapacityBytes / kRoomStep + 1;
static_assert(kDiskGrainBytes % kRoomStep == 0);

uint32_t StepsOf(uint32_t object_bytes) {
  EBB_CHECK(object_bytes <= BlockWriter::kMaxObjectBytes, "an object larger than a block");
  return BlockWriter::Needs(object_bytes) / kRoomStep;
}

// Blocks by the room that is left in them. Finding one looks at eight words at most.
class BlocksByRoom {
 public:
  explicit BlocksByRoom(size_t max_blocks) : next_(max_blocks, kNoBlock) { first_.fill(kNoBlock); }

  void Add(uint32_t block, uint32_t room) {
    next_[block] = first_[room];
    first_[room] = block;
    some_[room / 64] |= uint64_t{1} << room % 64;
  }
  // The least room that is enough; kRooms if there is none.
  uint32_t LeastRoom(uint32_t enough) const {
    uint64_t word = some_[enough / 64] & (UINT64_MAX << enough % 64);
    for (uint32_t at = enough / 64;;) {
      if (word != 0) return at * 64 + static_cast<uint32_t>(std::countr_zero(word));
      if (++at == some_.size()) return kRooms;
      word = some_[at];
    }
  }
  uint32_t Take(uint32_t room) {
    const uint32_t block = first_[room];
    first_[room] = next_[block];
    if (first_[room] == kNoBlock) some_[room / 64] &= ~(uint64_t{1} << room % 64);
    return block;
  }

 private:
  static constexpr uint32_t kNoBlock = UINT32_MAX;

  std::array<uint64_t, (kRooms + 63) / 64> some_ = {};
  std::array<uint32_t, kRooms> first_;
  std::vector<uint32_t> next_;
};

}  // namespace

std::vector<uint32_t> PackBlocks(std::span<const uint32_t> object_bytes) {
  std::vector<uint32_t> order(object_bytes.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(),
            [&](uint32_t a, uint32_t b) { return object_bytes[a] > object_bytes[b]; });
  std::vector<uint32_t> block_of(object_bytes.size());
  BlocksByRoom blocks(object_bytes.size());
  uint32_t count = 0;
  for (const uint32_t object : order) {
    const uint32_t steps = StepsOf(object_bytes[object]);
    uint32_t room = blocks.LeastRoom(steps);
    const bool fits = room < kRooms;
    const uint32_t block = fits ? blocks.Take(room) : count++;
    if (!fits) room = kRooms - 1;
    block_of[object] = block;
    blocks.Add(block, room - steps);
  }
  return block_of;
}

}  // namespace ebb
