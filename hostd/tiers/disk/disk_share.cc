// SPDX-License-Identifier: MIT
#include "hostd/tiers/disk/disk_share.h"

#include <algorithm>
#include <utility>

#include "hostd/base/status_macros.h"
#include "hostd/base/units.h"

namespace ebb {
namespace {

// A write that takes longer than any disk that is well.
constexpr int64_t kSlowWriteNs = 5 * kNsPerS;

}  // namespace

absl::StatusOr<std::unique_ptr<DiskShare>> DiskShare::Create(DiskTier* tier) {
  EBB_ASSIGN_OR_RETURN(std::unique_ptr<DiskQueue> writes,
                       tier->OpenQueue(kMaxWrites, kMaxWriteBlocks * kDiskBlockBytes));
  return std::unique_ptr<DiskShare>(new DiskShare(tier, std::move(writes)));
}

DiskShare::DiskShare(DiskTier* tier, std::unique_ptr<DiskQueue> writes)
    : tier_(tier), blocks_(&tier->space()), writes_(std::move(writes)), slots_(kMaxWrites) {}

DiskShare::~DiskShare() {
  const std::vector<uint32_t> segments = blocks_.ReleaseAll();
  if (in_flight_ > 0) {
    tier_->Adopt(std::move(writes_), segments);
  } else {
    tier_->space().GiveBack(segments);
  }
}

std::optional<DiskShare::Write> DiskShare::Begin(uint32_t blocks) {
  const auto slot =
      std::find_if(slots_.begin(), slots_.end(), [](const Slot& each) { return !each.taken; });
  if (slot == slots_.end()) return std::nullopt;
  const auto run = blocks_.Allocate(std::min(blocks, kMaxWriteBlocks));
  is_full_ = !run;
  if (!run) return std::nullopt;
  slot->taken = true;
  slot->write = {static_cast<uint32_t>(slot - slots_.begin()), run->first_block, run->count};
  return slot->write;
}

void DiskShare::Shorten(Write* write, uint32_t blocks) {
  for (uint32_t i = blocks; i < write->blocks; ++i) Settle(write->first_block + i, 0);
  write->blocks = blocks;
  slots_[write->slot].write = *write;
}

DiskBlock DiskShare::Block(const Write& write, uint32_t index) const {
  return DiskBlock(writes_->memory(write.slot) + uint64_t{index} * kDiskBlockBytes,
                   kDiskBlockBytes);
}

bool DiskShare::Start(const Write& write, int64_t now_ns) {
  if (!writes_->StartWrite(write.slot, PagesToBytes(write.first_block),
                           write.blocks * kDiskBlockBytes)) {
    slots_[write.slot].taken = false;
    return false;
  }
  slots_[write.slot].started_ns = now_ns;
  ++in_flight_;
  return true;
}

std::optional<DiskShare::EndedWrite> DiskShare::NextEnded(int64_t now_ns) {
  if (in_flight_ == 0) return std::nullopt;
  DiskQueue::Ended ended;
  if (writes_->Reap({&ended, 1}) == 0) {
    const bool stalled = std::any_of(slots_.begin(), slots_.end(), [now_ns](const Slot& slot) {
      return slot.taken && now_ns - slot.started_ns > kSlowWriteNs;
    });
    tier_->NoteStalled(stalled, now_ns);
    return std::nullopt;
  }
  --in_flight_;
  Slot& slot = slots_[ended.slot];
  slot.taken = false;
  tier_->NoteWrite(ended.ok, slot.write.blocks, now_ns);
  return EndedWrite{slot.write, ended.ok};
}

}  // namespace ebb
