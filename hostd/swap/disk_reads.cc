// SPDX-License-Identifier: MIT
#include "hostd/swap/disk_reads.h"

#include <algorithm>

#include "hostd/base/clock.h"
#include "hostd/base/units.h"

namespace ebb {

bool DiskReads::Start(const Read& read) {
  if (queue_ == nullptr) return false;
  const uint32_t slots = std::min(queue_->slots(), kMaxReads);
  for (uint32_t slot = 0; slot < slots; ++slot) {
    if (slots_[slot].taken) continue;
    slots_[slot].read = read;
    return StartIn(slot);
  }
  return false;
}

bool DiskReads::StartIn(uint32_t slot) {
  const uint64_t block = slots_[slot].read.location.disk_location().block;
  slots_[slot].started_ns = MonotonicNs();
  slots_[slot].taken = queue_->StartRead(slot, PagesToBytes(block), kDiskBlockBytes);
  return slots_[slot].taken;
}

bool DiskReads::TryAgain(uint32_t slot) {
  ++slots_[slot].read.tries;
  return StartIn(slot);
}

std::optional<DiskReads::Ended> DiskReads::Next() {
  if (in_flight() == 0) return std::nullopt;
  DiskQueue::Ended ended;
  if (queue_->Reap({&ended, 1}) == 0) return std::nullopt;
  return Ended{ended.slot, slots_[ended.slot].read, ended.ok};
}

std::optional<int64_t> DiskReads::OldestStartNs() const {
  std::optional<int64_t> oldest;
  for (const Slot& slot : slots_) {
    if (slot.taken && (!oldest || slot.started_ns < *oldest)) oldest = slot.started_ns;
  }
  return oldest;
}

}  // namespace ebb
