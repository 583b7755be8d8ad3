// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "hostd/os/disk.h"
#include "hostd/tiers/disk/block_format.h"
#include "hostd/tiers/disk/disk_blocks.h"
#include "hostd/tiers/disk/disk_tier.h"

namespace ebb {

// One VM's part of the disk tier: the blocks it has there, and its writes. Segments are its own, so
// that nothing of two VMs lies in one block, and it goes in O(segments). Reclaim thread only, but
// for what says otherwise.
class DiskShare {
 public:
  // Blocks that one write covers at most.
  static constexpr uint32_t kMaxWriteBlocks = 16;
  static constexpr uint32_t kMaxWrites = 16;

  // `tier` must outlive this.
  static absl::StatusOr<std::unique_ptr<DiskShare>> Create(DiskTier* tier);
  ~DiskShare();

  DiskTier& tier() const { return *tier_; }

  // Blocks in a row that are being written or read, and the slot for it.
  struct Io {
    uint32_t slot = 0;
    uint32_t first_block = 0;
    uint32_t blocks = 0;
  };

  // Blocks to be filled and written, at most so many; none while all slots are in use, or when the
  // disk is full. What has been begun must be started or cancelled. The last few blocks are for
  // those who make room with them.
  enum class Purpose { kStore, kMakeRoom };
  std::optional<Io> Begin(uint32_t blocks, Purpose purpose);
  // What has been begun and shortened to nothing is not to be written.
  void Cancel(const Io& write) { slots_[write.slot].use = Slot::Use::kFree; }
  // What has been begun shall be only its first `blocks`.
  void Shorten(Io* write, uint32_t blocks);
  DiskBlock Block(const Io& write, uint32_t index) const;
  // False when the kernel does not take it: then it has ended, without success.
  bool Start(const Io& write, int64_t now_ns);

  // Reads a block; false when that cannot be now.
  bool StartRead(uint32_t block, int64_t now_ns);

  // The next write or read that has ended. Each block of a write is to be settled then; of a read,
  // Block() is to be looked at before anything else is begun.
  struct Ended {
    Io io;
    bool is_read = false;
    bool ok = false;
  };
  std::optional<Ended> NextEnded(int64_t now_ns);
  // See DiskBlocks.
  void Settle(uint32_t block, uint32_t live_bytes);
  void Free(DiskLocation at, uint32_t object_bytes);

  std::optional<uint32_t> NextSparse(uint32_t max_live_bytes) {
    return blocks_.NextSparse(max_live_bytes);
  }

  uint32_t in_flight() const { return in_flight_; }
  uint64_t free_slots() const;
  // The last Begin found no room on the disk. Any thread.
  bool is_full() const { return is_full_.load(std::memory_order_relaxed); }
  // Blocks of 4096 bytes that hold something or are being written. Any thread.
  uint64_t used_blocks() const { return used_blocks_.load(std::memory_order_relaxed); }
  const DiskBlocks& blocks() const { return blocks_; }

 private:
  DiskShare(DiskTier* tier, std::unique_ptr<DiskQueue> queue);
  void NoteUsed() { used_blocks_.store(blocks_.used_blocks(), std::memory_order_relaxed); }

  struct Slot {
    enum class Use { kFree, kBegun, kWriting, kReading };
    Use use = Use::kFree;
    int64_t started_ns = 0;  // of kWriting and kReading
    Io io;
  };

  static bool IsFree(const Slot& slot) { return slot.use == Slot::Use::kFree; }
  Slot* FreeSlot();
  uint32_t MayTake(uint32_t blocks, Purpose purpose) const;

  DiskTier* const tier_;
  DiskBlocks blocks_;
  std::unique_ptr<DiskQueue> queue_;
  std::vector<Slot> slots_;
  uint32_t in_flight_ = 0;
  std::atomic<bool> is_full_{false};
  std::atomic<uint64_t> used_blocks_{0};
};

}  // namespace ebb
