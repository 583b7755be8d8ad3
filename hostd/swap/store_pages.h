// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "hostd/os/guest_memory.h"
#include "hostd/swap/claimed_page.h"
#include "hostd/swap/drop.h"
#include "hostd/swap/swap_state.h"
#include "hostd/tiers/page_codec.h"

namespace ebb {

// Guarded -> SwappingOut: checks that the page is still untouched, reads it, and stores a copy.
// The page stays where it is; DropPages finishes it. Reclaim thread only: it compresses.
class StorePages {
 public:
  StorePages(GuestMemory* memory, SwapState* state);

  // The pool had no room for a page, in the last Run.
  bool pool_was_full() const { return pool_was_full_; }

  // `guarded`: pages past their barrier, ascending, of one run. Every one of them that is still
  // claimed ends in `stored` (with its record complete) or in `give_back`; both are empty at first.
  void Run(std::span<const ClaimedPage> guarded, std::vector<StoredPage>* stored,
           std::vector<ClaimedPage>* give_back);

 private:
  std::vector<ClaimedPage> Claim(std::span<const ClaimedPage> guarded);
  std::optional<SwapId> Store(const ClaimedPage& page);
  std::optional<SwapLocation> StoreContent(PageIndex page);
  void Forget(std::vector<StoredPage>* stored, std::vector<ClaimedPage>* give_back);

  GuestMemory* memory_;
  SwapState* state_;
  std::vector<PteState> ptes_;
  PageCompressor compressor_;
  std::vector<std::byte> content_;
  std::array<std::byte, kMaxCompressedBytes> compressed_;
  bool pool_was_full_ = false;
};

}  // namespace ebb
