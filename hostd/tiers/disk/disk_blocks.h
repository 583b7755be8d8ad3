// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "hostd/page/ids.h"
#include "hostd/tiers/disk/segment_space.h"

namespace ebb {

// One owner's blocks of a disk, in segments that it has for itself. A block is free, being written,
// or live as long as one of its objects is; then it is free at once. Not thread-safe.
//
// The first block of each segment is never handed out (docs/formats/disk.md).
class DiskBlocks {
 public:
  // `space` must outlive this.
  explicit DiskBlocks(SegmentSpace* space) : space_(space) {}
  ~DiskBlocks();  // gives all segments back, in O(segments)

  struct Run {
    uint32_t first_block = 0;
    uint32_t count = 0;
  };
  // 1 to `max_blocks` blocks in a row, being written from now on; none when the disk is full.
  // Prefers long runs, and segments that it has already.
  std::optional<Run> Allocate(uint32_t max_blocks);
  // The block has been written (or not) and holds `live_bytes` of objects; with 0 it is free.
  void Settle(uint32_t block, uint32_t live_bytes);
  // An object there is not needed any more.
  void Free(DiskLocation at, uint32_t object_bytes);

  // For whoever has to wait until the disk has answered: all segments, and this has none any more.
  std::vector<uint32_t> ReleaseAll();

  uint64_t used_blocks() const;  // being written or live
  uint64_t live_bytes() const;
  uint64_t segments() const;
  uint64_t bookkeeping_bytes() const;

  // A live block with at most so many live bytes, going round; none when one round finds none.
  std::optional<uint32_t> NextSparse(uint32_t max_live_bytes);

 private:
  SegmentSpace* const space_;
};

}  // namespace ebb
