// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>

#include "hostd/page/page_words.h"
#include "hostd/page/swap_desc_table.h"
#include "hostd/swap/discard_order.h"
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
  Pool& pool() { return pool_; }
  SwapStats& stats() { return stats_; }
  DiscardOrder& discard_order() { return discard_order_; }
  LossNotices& losses() { return losses_; }

  // Frees the storage of retired records. Reclaim thread only.
  void ReapRetired();

 private:
  PageWords words_;
  SwapDescTable table_;
  Pool pool_;
  SwapStats stats_;
  DiscardOrder discard_order_;
  LossNotices losses_;
};

}  // namespace ebb
