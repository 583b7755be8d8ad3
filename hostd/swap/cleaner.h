// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "hostd/os/disk.h"
#include "hostd/swap/swap_state.h"
#include "hostd/tiers/disk/disk_share.h"

namespace ebb {

// Where a disk is nearly full: reads blocks of this VM that are mostly empty, so that Writeback can
// write what is left in them together, into fewer. What a read brings is verified first: what the
// disk gives wrongly once stays where it is. Reclaim thread only; never waits.
class Cleaner {
 public:
  // `state` must outlive this, and have a disk.
  explicit Cleaner(SwapState* state) : state_(state), disk_(state->disk()) {}

  // Starts reads where that is worth it.
  void Run(int64_t now_ns);
  // What was taken found no room: does nothing for a while.
  void Pause(int64_t now_ns);
  // A read that Run has started has ended.
  void EndRead(const DiskShare::Io& read, bool ok);

  // An object of a block that is to be emptied. Its record is being copied (SwapState::BeginCopy).
  struct Object {
    PageIndex page;
    SwapId id;
    SwapLocation from;
    std::vector<std::byte> bytes;
  };
  // What is left in the blocks that were read; nothing until that would win some.
  std::vector<Object> Take(int64_t now_ns);

 private:
  bool IsWorthIt() const;
  std::vector<uint32_t> FindSparse();
  std::optional<Object> Verified(ConstDiskBlock block, uint32_t number, BlockMember member);

  SwapState* const state_;
  DiskShare* const disk_;
  std::vector<Object> objects_;
  uint32_t reading_ = 0;
  uint32_t blocks_read_ = 0;  // that objects_ come from
  int64_t not_before_ns_ = 0;
};

}  // namespace ebb
