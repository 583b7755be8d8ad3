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
#include "hostd/swap/writeback.h"
#include "hostd/tiers/page_codec.h"

namespace ebb {

// Guarded -> SwappingOut: checks that the page is still untouched, reads it, and stores a copy.
// The page stays where it is; DropPages finishes it. Pages that do not compress go to the disk, if
// there is one, which takes longer. Reclaim thread only: it compresses.
class StorePages {
 public:
  // `writeback` may be null where there is no disk.
  StorePages(GuestMemory* memory, SwapState* state, Writeback* writeback = nullptr);

  // The pool had no room for a page, in the last Run.
  bool pool_was_full() const { return pool_was_full_; }
  // The disk had no time for one that does not compress.
  bool disk_was_busy() const { return disk_was_busy_; }

  // `guarded`: pages past their barrier, ascending, of one run. Every one of them that is still
  // claimed ends in `stored` (with its record complete), in `give_back`, or with Writeback; both
  // are empty at first.
  void Run(std::span<const ClaimedPage> guarded, std::vector<StoredPage>* stored,
           std::vector<ClaimedPage>* give_back);

 private:
  std::vector<ClaimedPage> Claim(std::span<const ClaimedPage> guarded);
  // Where a page has ended.
  struct Result {
    std::optional<SwapId> id;  // of its record; none: it is to stay
    bool being_written = false;
  };
  Result Store(const ClaimedPage& page);
  Result StoreSame(const ClaimedPage& page, uint32_t value);
  Result StoreInPool(const ClaimedPage& page, std::span<const std::byte> object);
  Result StoreRaw(const ClaimedPage& page);
  uint32_t ChecksumOf(const ClaimedPage& page) const;
  void Forget(std::vector<StoredPage>* stored, std::vector<ClaimedPage>* give_back);

  GuestMemory* memory_;
  SwapState* state_;
  Writeback* writeback_;
  std::vector<PteState> ptes_;
  PageCompressor compressor_;
  std::vector<std::byte> content_;
  std::array<std::byte, kMaxCompressedBytes> compressed_;
  bool pool_was_full_ = false;
  bool disk_was_busy_ = false;
  uint64_t reads_begun_ = 0;  // of this Run
};

}  // namespace ebb
