// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "hostd/swap/claimed_page.h"
#include "hostd/swap/cleaner.h"
#include "hostd/swap/drop.h"
#include "hostd/swap/swap_state.h"
#include "hostd/tiers/disk/disk_share.h"

namespace ebb {

// Moves what is oldest from a VM's pool to its part of the disk, writes pages there that do not
// compress, and moves what is left in sparse blocks together. A move is a copy of the compressed
// bytes and one compare-and-swap in the record, once they are on the disk: page words do not
// change, and a write that fails leaves all as it was. Reclaim thread only; never waits.
class Writeback {
 public:
  // Objects that are packed into blocks together.
  static constexpr size_t kBatchObjects = 128;

  // Does nothing where the VM has no disk. `state` must outlive this.
  explicit Writeback(SwapState* state);

  bool has_disk() const { return disk_ != nullptr; }

  // Sees to writes that have ended, and starts others until `wanted_bytes` of the pool are on their
  // way, and for the last raw pages. True while writes are under way.
  bool Run(uint64_t wanted_bytes, int64_t now_ns);

  // Writes a page in SwappingOut as it is. It is read as long as the write takes, and may be taken
  // back meanwhile; TakeEnded says how it went. `reads_begun` is of DiscardOrder, from before the
  // page was claimed.
  enum class RawResult { kTaken, kBusy, kNoRoom };
  RawResult WriteRaw(const ClaimedPage& page, const std::byte* content, uint64_t reads_begun);
  // Whether so many would be taken now.
  bool CanTakeRaw(uint64_t pages) const {
    return disk_ == nullptr || disk_->free_slots() * DiskShare::kMaxWriteBlocks >= pages;
  }
  // Raw pages that are on the disk, and those that are not to go. What was taken back is in
  // neither.
  void TakeEnded(std::vector<StoredPage>* drop, std::vector<ClaimedPage>* give_back);
  // All raw pages are to go back, those that are still being written as well.
  void GiveUp(std::vector<ClaimedPage>* give_back);

 private:
  // An object on its way to the disk.
  struct Moving {
    PageIndex page;
    SwapId id;
    uint8_t generation = 0;
    SwapLocation from;
    std::vector<std::byte> bytes;  // of one that comes from the disk
    uint32_t block = 0;            // of its batch, until `to` is known
    DiskLocation to;
  };
  struct RawPage {
    ClaimedPage claim;
    uint32_t checksum = 0;
    uint64_t reads_begun = 0;
    DiskLocation to;
  };
  // What one write carries.
  struct Load {
    std::vector<Moving> moving;
    std::vector<RawPage> raw;
  };

  std::vector<Moving> Collect();
  std::vector<Moving> TakeFromCleaner();
  bool StartBatch(std::vector<Moving> moving, DiskShare::Purpose purpose);
  void MakeRoom();
  void Pack(std::vector<Moving>* moving);
  void Fill(const DiskShare::Io& write, std::vector<Moving>* moving);
  std::span<const std::byte> BytesOf(const Moving& moving) const;
  static uint64_t FromPool(const Moving& moving);
  void Keep(const Moving& moving);

  void FlushRaw();
  bool Start(const DiskShare::Io& write);
  void End(const DiskShare::Io& write, bool ok);
  bool EndRaw(const RawPage& raw, bool ok);
  bool IsTakenBack(const ClaimedPage& claim) const {
    return state_->words().Load(claim.page) != claim.word;
  }

  SwapState* const state_;
  DiskShare* const disk_;
  std::vector<Load> loads_;  // by slot
  std::optional<DiskShare::Io> open_raw_;
  int64_t now_ns_ = 0;  // of the last Run
  std::optional<Cleaner> cleaner_;
  uint64_t bytes_on_the_way_ = 0;  // of the pool
  std::vector<StoredPage> raw_stored_;
  std::vector<ClaimedPage> raw_refused_;
};

}  // namespace ebb
