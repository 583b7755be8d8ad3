// SPDX-License-Identifier: MIT
#include "hostd/tiers/disk/disk_share.h"

#include <algorithm>
#include <utility>

#include "hostd/base/status_macros.h"
#include "hostd/base/units.h"

namespace ebb {
namespace {

// With so many free blocks what is left in sparse ones can be moved together.
constexpr uint64_t kBlocksToMakeRoom = 16;

}  // namespace

absl::StatusOr<std::unique_ptr<DiskShare>> DiskShare::Create(DiskTier* tier) {
  EBB_ASSIGN_OR_RETURN(std::unique_ptr<DiskQueue> queue,
                       tier->OpenQueue(kMaxWrites, kMaxWriteBlocks * kDiskBlockBytes));
  return std::unique_ptr<DiskShare>(new DiskShare(tier, std::move(queue)));
}

DiskShare::DiskShare(DiskTier* tier, std::unique_ptr<DiskQueue> queue)
    : tier_(tier), blocks_(&tier->space()), queue_(std::move(queue)), slots_(kMaxWrites) {}

DiskShare::~DiskShare() {
  const std::vector<uint32_t> segments = blocks_.ReleaseAll();
  if (in_flight_ > 0) {
    tier_->Adopt(std::move(queue_), segments);
  } else {
    tier_->space().GiveBack(segments);
  }
}

DiskShare::Slot* DiskShare::FreeSlot() {
  const auto slot = std::find_if(slots_.begin(), slots_.end(), IsFree);
  return slot != slots_.end() ? &*slot : nullptr;
}

uint64_t DiskShare::free_slots() const {
  return static_cast<uint64_t>(std::count_if(slots_.begin(), slots_.end(), IsFree));
}

uint32_t DiskShare::MayTake(uint32_t blocks, Purpose purpose) const {
  blocks = std::min(blocks, kMaxWriteBlocks);
  if (purpose == Purpose::kMakeRoom || tier_->space().free_segments() > 0) return blocks;
  // The first block of a segment is nobody's.
  const uint64_t free = blocks_.segments() * (kSegmentBlocks - 1) - blocks_.used_blocks();
  if (free <= kBlocksToMakeRoom) return 0;
  return static_cast<uint32_t>(std::min<uint64_t>(blocks, free - kBlocksToMakeRoom));
}

std::optional<DiskShare::Io> DiskShare::Begin(uint32_t blocks, Purpose purpose) {
  Slot* const slot = FreeSlot();
  if (slot == nullptr) return std::nullopt;
  const uint32_t most = MayTake(blocks, purpose);
  const auto run = most > 0 ? blocks_.Allocate(most) : std::nullopt;
  is_full_.store(!run, std::memory_order_relaxed);
  if (!run) return std::nullopt;
  NoteUsed();
  slot->use = Slot::Use::kBegun;
  slot->io = {static_cast<uint32_t>(slot - slots_.data()), run->first_block, run->count};
  return slot->io;
}

void DiskShare::Shorten(Io* write, uint32_t blocks) {
  for (uint32_t i = blocks; i < write->blocks; ++i) Settle(write->first_block + i, 0);
  write->blocks = blocks;
  slots_[write->slot].io = *write;
}

void DiskShare::Settle(uint32_t block, uint32_t live_bytes) {
  blocks_.Settle(block, live_bytes);
  NoteUsed();
}

void DiskShare::Free(DiskLocation at, uint32_t object_bytes) {
  blocks_.Free(at, object_bytes);
  NoteUsed();
}

DiskBlock DiskShare::Block(const Io& write, uint32_t index) const {
  return DiskBlock(queue_->memory(write.slot) + uint64_t{index} * kDiskBlockBytes, kDiskBlockBytes);
}

bool DiskShare::Start(const Io& write, int64_t now_ns) {
  if (!queue_->StartWrite(write.slot, PagesToBytes(write.first_block),
                          write.blocks * kDiskBlockBytes)) {
    Cancel(write);
    return false;
  }
  slots_[write.slot].use = Slot::Use::kWriting;
  slots_[write.slot].started_ns = now_ns;
  ++in_flight_;
  return true;
}

bool DiskShare::StartRead(uint32_t block, int64_t now_ns) {
  Slot* const slot = FreeSlot();
  if (slot == nullptr) return false;
  const auto number = static_cast<uint32_t>(slot - slots_.data());
  if (!queue_->StartRead(number, PagesToBytes(block), kDiskBlockBytes)) return false;
  *slot = {Slot::Use::kReading, now_ns, {number, block, 1}};
  ++in_flight_;
  return true;
}

std::optional<DiskShare::Ended> DiskShare::NextEnded(int64_t now_ns) {
  if (in_flight_ == 0) return std::nullopt;
  DiskQueue::Ended ended;
  if (queue_->Reap({&ended, 1}) == 0) {
    for (const Slot& slot : slots_) {
      const bool waits = slot.use == Slot::Use::kWriting || slot.use == Slot::Use::kReading;
      if (waits) tier_->NoteWaiting(slot.started_ns, now_ns);
    }
    return std::nullopt;
  }
  --in_flight_;
  Slot& slot = slots_[ended.slot];
  const bool is_read = std::exchange(slot.use, Slot::Use::kFree) == Slot::Use::kReading;
  if (is_read) {
    tier_->NoteRead(ended.ok);
  } else {
    tier_->NoteWrite(ended.ok, slot.io.blocks, now_ns);
  }
  return Ended{slot.io, is_read, ended.ok};
}

}  // namespace ebb
