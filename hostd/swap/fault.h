// SPDX-License-Identifier: MIT
#pragma once

#include "hostd/base/units.h"
#include "hostd/os/guest_memory.h"
#include "hostd/swap/outcome.h"
#include "hostd/swap/swap_in.h"
#include "hostd/swap/swap_state.h"

namespace ebb {

// The fault side of the page protocol: what to do with one page that a guest thread waits for. It
// decides by the page's word; the message's kind is only a hint which ioctl to try first, because
// messages duplicate and go stale. Every answer is idempotent.
//
// Allocates nothing and waits for nothing; where the page is owned it leaves the waiter bit and the
// owner wakes. Used by one thread.
class FaultHandler {
 public:
  // `reads` as for SwapIn.
  FaultHandler(GuestMemory* memory, SwapState* state, std::unique_ptr<DiskQueue> reads = nullptr)
      : memory_(memory), state_(state), swap_in_(memory, state, std::move(reads)) {}

  // `kind` is kMissing or kWriteProtect. Never returns kChanged.
  PageOutcome Handle(PageIndex page, FaultMessage::Kind kind);

  // See SwapIn.
  std::optional<SwapIn::ReadPage> NextRead(bool read_ahead) {
    return swap_in_.NextRead(read_ahead);
  }
  uint32_t reads_in_flight() const { return swap_in_.reads_in_flight(); }
  int reads_fd() const { return swap_in_.reads_fd(); }

  // Fills holes behind a first touch with zero pages, at most `pages` of them, up to the first page
  // that is there or in use. Saves a round trip for each.
  void FillAhead(PageIndex after, uint64_t pages);

 private:
  PageOutcome TryHandle(PageIndex page, FaultMessage::Kind kind);
  PageOutcome Fix(PageIndex page, FaultMessage::Kind kind);

  GuestMemory* memory_;
  SwapState* state_;
  SwapIn swap_in_;
};

}  // namespace ebb
