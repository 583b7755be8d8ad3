// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

#include "hostd/base/units.h"
#include "hostd/os/guest_memory.h"
#include "hostd/swap/disk_reads.h"
#include "hostd/swap/outcome.h"
#include "hostd/swap/swap_state.h"

namespace ebb {

// Brings a swapped page back: Swapped -> SwappingIn -> Resident, and only then frees the record.
// What cannot be verified is never handed to the guest: the page becomes Lost. A page whose content
// is on the disk stays SwappingIn while that is read.
//
// Allocates nothing and waits for nothing. Each thread that swaps in has one of its own.
class SwapIn {
 public:
  // `reads` may be null where the VM has no disk.
  SwapIn(GuestMemory* memory, SwapState* state, std::unique_ptr<DiskQueue> reads = nullptr)
      : memory_(memory), state_(state), reader_(&state->readers()), reads_(std::move(reads)) {}

  // `word` is the page's word as just read: Swapped, or Lost to try again.
  PageOutcome Run(PageIndex page, PageWord word);

  // What became of the next page that Run answered kReading for; never kReading or kChanged. None
  // while no read has ended. With `read_ahead` near pages that lie in the same block come back with
  // it.
  struct ReadPage {
    PageIndex page;
    PageOutcome outcome = PageOutcome::kServed;
    uint64_t read_ahead_pages = 0;
  };
  std::optional<ReadPage> NextRead(bool read_ahead);
  uint32_t reads_in_flight() const { return reads_.in_flight(); }
  // Becomes readable when a read has ended; -1 where there is no disk.
  int reads_fd() const { return reads_.fd(); }

 private:
  // What Produce has made of a record.
  enum class Produced { kReady, kWrong, kOnDisk };

  PageOutcome BringBack(PageIndex page, PageWord word);
  Produced Produce(PageIndex page, PageWord word, SwapLocation* location);
  bool IsRight(PageIndex page, PageWord word, uint32_t checksum) const;
  bool Decode(SwapLocation location);
  PageOutcome StartRead(PageIndex page, PageWord word, SwapLocation location);
  PageOutcome EndRead(const DiskReads::Ended& ended, bool read_ahead, uint64_t* read_ahead_pages);
  uint64_t BringNeighbours(ConstDiskBlock block, PageIndex page, SwapLocation from);
  bool BringNeighbour(ConstDiskBlock block, BlockMember member, SwapLocation from);
  PageOutcome Deliver(PageIndex page, PageWord word);
  PageOutcome Settle(PageIndex page, PageWord word, OsResult filled);
  PageOutcome FinishInPlace(PageIndex page, PageWord word);
  PageOutcome FindExisting(PageIndex page, PageWord word);
  PageOutcome Undo(PageIndex page, PageWord word, PageOutcome outcome);
  PageOutcome Lose(PageIndex page, PageWord word, const char* reason);

  GuestMemory* memory_;
  SwapState* state_;
  RecordReaders::Reader reader_;
  DiskReads reads_;
  alignas(kPageBytes) std::array<std::byte, kPageBytes> bounce_;
};

// Frees the record of a page that left Swapped for good. `id` must not be named by a word any more.
void RetireRecord(SwapState* state, SwapId id);

}  // namespace ebb
