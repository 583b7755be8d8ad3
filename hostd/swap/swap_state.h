// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>

#include "hostd/page/page_words.h"
#include "hostd/page/record_readers.h"
#include "hostd/page/swap_desc_table.h"
#include "hostd/swap/discard_order.h"
#include "hostd/swap/incompressible.h"
#include "hostd/swap/loss_notices.h"
#include "hostd/swap/swap_stats.h"
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
  SwapState(const Memory& memory, uint64_t pages, uint32_t records);

  PageWords& words() { return words_; }
  SwapDescTable& table() { return table_; }
  RecordReaders& readers() { return readers_; }
  Pool& pool() { return pool_; }
  SwapStats& stats() { return stats_; }
  DiscardOrder& discard_order() { return discard_order_; }
  LossNotices& losses() { return losses_; }
  Incompressible& incompressible() { return incompressible_; }

  // Frees the storage of retired records. Reclaim thread only.
  void ReapRetired();
  // Moves some objects of the pool together, where that wins memory. True while there is more to
  // do. Reclaim thread only.
  bool Compact();

 private:
  PageWords words_;
  SwapDescTable table_;
  RecordReaders readers_;
  Pool pool_;
  RecordReaders::Sight moved_before_;  // who read when objects had been moved
  SwapStats stats_;
  DiscardOrder discard_order_;
  LossNotices losses_;
  Incompressible incompressible_;
};

}  // namespace ebb
