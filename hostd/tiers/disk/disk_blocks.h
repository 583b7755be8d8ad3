// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <unordered_map>
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
  explicit DiskBlocks(SegmentSpace* space) : space_(space) { by_free_.fill(nullptr); }
  // Gives all segments back, in O(segments). No block may be being written: another owner could
  // have it before the write has ended.
  ~DiskBlocks();
  DiskBlocks(const DiskBlocks&) = delete;
  DiskBlocks& operator=(const DiskBlocks&) = delete;

  // What an object of so many bytes counts for in its block.
  static constexpr uint32_t LiveBytes(uint32_t object_bytes) {
    return (object_bytes + kDiskGrainBytes - 1) / kDiskGrainBytes * kDiskGrainBytes;
  }

  struct Run {
    uint32_t first_block = 0;
    uint32_t count = 0;
  };
  // 1 to `max_blocks` blocks in a row, being written from now on; none when the disk is full.
  // Prefers long runs, and segments that it has already.
  std::optional<Run> Allocate(uint32_t max_blocks);
  // The block has been written (or not) and holds `live_bytes` of objects, which is the sum of
  // LiveBytes() of them; with 0 it is free.
  void Settle(uint32_t block, uint32_t live_bytes);
  // An object there is not needed any more.
  void Free(DiskLocation at, uint32_t object_bytes);

  // For whoever has to wait until the disk has answered: all segments, and this has none any more.
  // What is being written then is not settled.
  std::vector<uint32_t> ReleaseAll();

  uint64_t used_blocks() const { return used_blocks_; }  // being written or live
  uint64_t live_bytes() const { return live_bytes_; }
  uint64_t segments() const { return segments_.size(); }
  uint64_t bookkeeping_bytes() const;

  // A live block with at most so many live bytes, going round; none when one round finds none.
  std::optional<uint32_t> NextSparse(uint32_t max_live_bytes);

 private:
  // The owner goes on with a segment of its own rather than a fresh one from so many free blocks.
  static constexpr uint32_t kWorthFree = 64;
  static constexpr uint32_t kUsableBlocks = kSegmentBlocks - 1;
  static constexpr uint32_t kWordBits = 64;

  struct Segment {
    uint32_t number = 0;
    uint32_t slot = 0;  // in segments_
    uint32_t free = kUsableBlocks;
    // Of those with as many free blocks.
    Segment* previous = nullptr;
    Segment* next = nullptr;
    // A block is free unless it is taken, and being written if it is taken and nothing of it is
    // live.
    std::array<uint64_t, kSegmentBlocks / kWordBits> taken = {1};  // but for the first block
    std::array<uint8_t, kSegmentBlocks> live = {};                 // in kDiskGrainBytes
  };
  // A place among the blocks of a segment, looked up and checked.
  struct Place {
    Segment* segment;
    uint32_t block;
  };

  static uint8_t Grains(uint32_t live_bytes);
  static bool IsTaken(const Segment& segment, uint32_t block);
  static Run BestRun(const Segment& segment, uint32_t max_blocks);
  Place Find(uint32_t block) const;

  Segment* Choose();
  Segment* MostFree() const;
  Segment* TakeSegment();
  void GiveBlock(Place place);
  void GiveSegment(Segment* segment);
  void SetFree(Segment* segment, uint32_t free);
  void Link(Segment* segment);
  void Unlink(Segment* segment);

  SegmentSpace* const space_;
  std::vector<std::unique_ptr<Segment>> segments_;
  std::unordered_map<uint32_t, Segment*> by_number_;
  std::array<Segment*, kUsableBlocks + 1> by_free_;                          // heads of lists
  std::array<uint64_t, (kUsableBlocks + kWordBits) / kWordBits> some_ = {};  // which have one
  Segment* current_ = nullptr;  // where blocks were last taken
  uint64_t used_blocks_ = 0;
  uint64_t being_written_ = 0;
  uint64_t live_bytes_ = 0;
  size_t sparse_slot_ = 0;  // where NextSparse goes on
  uint32_t sparse_block_ = 0;
};

}  // namespace ebb
