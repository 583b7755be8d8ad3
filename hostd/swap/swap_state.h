// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <unordered_set>
#include <vector>

#include "hostd/page/page_words.h"
#include "hostd/page/record_readers.h"
#include "hostd/page/swap_desc_table.h"
#include "hostd/swap/come_backs.h"
#include "hostd/swap/discard_order.h"
#include "hostd/swap/incompressible.h"
#include "hostd/swap/loss_notices.h"
#include "hostd/swap/swap_stats.h"
#include "hostd/swap/writeback_order.h"
#include "hostd/tiers/disk/disk_share.h"
#include "hostd/tiers/pool/pool.h"

namespace ebb {

// A VM's swap state, in memory that belongs to somebody else: page words, swap_desc records and the
// pool. Everything the page protocol knows of a page besides what the kernel knows.
class SwapState {
 public:
  // The memory of words and records is all zeros at first; see PageWords::BytesFor and
  // SwapDescTable::BytesFor. All of it must outlive this.
  struct Memory {
    std::byte* words;
    std::byte* records;
    PoolMemory* pool;
  };
  // `disk` is the VM's part of the disk tier; null where there is none.
  SwapState(const Memory& memory, uint64_t pages, uint32_t records,
            std::unique_ptr<DiskShare> disk = nullptr);

  PageWords& words() { return words_; }
  SwapDescTable& table() { return table_; }
  RecordReaders& readers() { return readers_; }
  Pool& pool() { return pool_; }
  DiskShare* disk() { return disk_.get(); }
  SwapStats& stats() { return stats_; }
  DiscardOrder& discard_order() { return discard_order_; }
  LossNotices& losses() { return losses_; }
  Incompressible& incompressible() { return incompressible_; }
  ComeBacks& come_backs() { return come_backs_; }
  WritebackOrder& writeback_order() { return writeback_order_; }

  // The rest is for the reclaim thread only.

  // Frees the storage of retired records.
  void ReapRetired();
  // Moves some objects of the pool together, where that wins memory, and frees what has been moved
  // away earlier. True while there is more to do.
  bool Compact();

  // While what a record names is being copied neither its id nor its place in the pool is used for
  // anything else.
  void BeginCopy(SwapId id) { being_copied_.insert(id.value); }
  void EndCopy(SwapId id) { being_copied_.erase(id.value); }
  bool IsBeingCopied(SwapId id) const { return being_copied_.count(id.value) != 0; }
  // What was copied from `from` lies on the disk at `to` now: frees where it was. In the pool that
  // waits until nobody reads there; who reads the disk looks at the record again.
  void MovedToDisk(SwapId id, SwapLocation from, SwapLocation to);
  // Of the pool, what is not needed there any more and not freed yet.
  uint64_t leaving_bytes() const { return leaving_bytes_; }

 private:
  bool Relocate(PageIndex page, PoolHandle from, PoolHandle to);
  void FreeInPool(SwapLocation location) {
    pool_.Free(location.pool_handle(), location.length_bytes());
  }

  PageWords words_;
  SwapDescTable table_;
  RecordReaders readers_;
  Pool pool_;
  const std::unique_ptr<DiskShare> disk_;
  SwapStats stats_;
  DiscardOrder discard_order_;
  LossNotices losses_;
  Incompressible incompressible_;
  ComeBacks come_backs_;
  WritebackOrder writeback_order_;

  std::unordered_set<uint32_t> being_copied_;
  // Where content was that is elsewhere now. It is freed in turns: what had been left before the
  // last look at the readers, and what has been since.
  std::vector<SwapLocation> left_before_;
  std::vector<SwapLocation> left_since_;
  RecordReaders::Sight readers_then_;
  uint64_t leaving_bytes_ = 0;
};

}  // namespace ebb
