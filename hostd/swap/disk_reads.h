// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>

#include "hostd/os/disk.h"
#include "hostd/page/page_word.h"
#include "hostd/page/swap_desc.h"
#include "hostd/tiers/disk/block_format.h"

namespace ebb {

// The reads that one thread which swaps in has under way: one block each. Allocates nothing after
// construction, and never waits.
class DiskReads {
 public:
  static constexpr uint32_t kMaxReads = 32;

  // One read that a page in SwappingIn waits for.
  struct Read {
    PageIndex page;
    PageWord word;          // before SwappingIn
    SwapLocation location;  // that is read
    int tries = 0;
  };

  // `queue` has at most kMaxReads slots of a block; null where there is no disk.
  explicit DiskReads(std::unique_ptr<DiskQueue> queue) : queue_(std::move(queue)) {}

  // False when as many as can be are under way, or the kernel does not take it now.
  bool Start(const Read& read);

  struct Ended {
    uint32_t slot = 0;
    Read read;
    bool ok = false;
  };
  // The next one that has ended. Its block stays until Release or TryAgain.
  std::optional<Ended> Next();
  ConstDiskBlock Block(uint32_t slot) const {
    return ConstDiskBlock(queue_->memory(slot), kDiskBlockBytes);
  }
  void Release(uint32_t slot) { slots_[slot].taken = false; }
  // The same once more; false when the kernel does not take it, and then it is released.
  bool TryAgain(uint32_t slot);

  uint32_t in_flight() const { return queue_ != nullptr ? queue_->in_flight() : 0; }
  // When the oldest one that is under way was started; none when none is.
  std::optional<int64_t> OldestStartNs() const;
  // Becomes readable when one has ended; -1 where there is no disk.
  int fd() const { return queue_ != nullptr ? queue_->fd() : -1; }

 private:
  struct Slot {
    bool taken = false;
    int64_t started_ns = 0;
    Read read;
  };
  bool StartIn(uint32_t slot);

  std::unique_ptr<DiskQueue> queue_;
  std::array<Slot, kMaxReads> slots_;
};

}  // namespace ebb
