// SPDX-License-Identifier: MIT
// What a block of the disk tier looks like; docs/formats/disk.md says it byte by byte.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "hostd/base/units.h"
#include "hostd/page/ids.h"

namespace ebb {

inline constexpr uint32_t kDiskBlockBytes = 4096;
using DiskBlock = std::span<std::byte, kDiskBlockBytes>;
using ConstDiskBlock = std::span<const std::byte, kDiskBlockBytes>;

// Whose object a block holds. A hint: where exactly, and whether it is still the one that counts,
// only the record of `id` says.
struct BlockMember {
  PageIndex page;
  SwapId id;
};

// Fills one block with objects. A page that does not compress is a block of its own, without any of
// this.
class BlockWriter {
 public:
  static constexpr uint32_t kHeaderBytes = 40;
  static constexpr uint32_t kMemberBytes = 8;

  // Bytes of a block that an object of so many bytes takes, its place in the index included.
  static constexpr uint32_t Needs(uint32_t object_bytes) {
    return (object_bytes + kDiskGrainBytes - 1) / kDiskGrainBytes * kDiskGrainBytes + kMemberBytes;
  }
  // Of that, what an empty block has.
  static constexpr uint32_t kCapacityBytes = kDiskBlockBytes - kHeaderBytes;
  // What fits: there is no room for its place in the index otherwise.
  static constexpr uint32_t kMaxObjectBytes =
      (kCapacityBytes - kMemberBytes) / kDiskGrainBytes * kDiskGrainBytes;

  // Clears the block; it must outlive this.
  explicit BlockWriter(DiskBlock block);

  // Where in the block the object lies now, a multiple of kDiskGrainBytes; none when it has no
  // room.
  std::optional<uint16_t> Add(BlockMember member, std::span<const std::byte> object);
  uint32_t members() const { return members_; }

 private:
  DiskBlock block_;
  uint32_t members_ = 0;
  uint32_t objects_begin_ = kDiskBlockBytes;
};

// What a block says that it holds, at most as many as `members` has room for; 0 for a block that is
// none of ours. The content is believed by nobody: safe on any input, and the pages and ids can be
// any numbers.
size_t ReadMembers(ConstDiskBlock block, std::span<BlockMember> members);

// No block has more.
inline constexpr size_t kMaxBlockMembers = BlockWriter::kCapacityBytes / BlockWriter::Needs(1);

}  // namespace ebb
