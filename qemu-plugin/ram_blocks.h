// SPDX-License-Identifier: MIT
// Finds guest RAM in QEMU's own address space without touching a QEMU structure: mappings that
// /proc/self/maps shows as shared and writable and that belong to a memfd with the name
// memory-backend-memfd gives it. Their descriptors are found by fstat.
#pragma once

#include <sys/types.h>

#include <cstdint>

#include "hostd/wire/handover.h"

namespace ebb::plugin {

struct RamLayout {
  wire::RamBlock blocks[wire::kMaxRamBlocks];  // by address
  uint32_t block_count;
  int memfds[wire::kMaxRamBlocks];  // QEMU's own: borrowed, never closed here
  uint32_t memfd_count;
};

enum class RamSearch {
  kFound,
  kNone,          // no memory-backend-memfd is mapped (yet)
  kTooMany,       // more than the protocol carries
  kNoDescriptor,  // mapped, but QEMU holds no writable descriptor of it
};

RamSearch FindRam(RamLayout& layout);

bool SameBlocks(const RamLayout& a, const RamLayout& b);

// Keeps RAM in 4 KiB pages: a punch into a larger folio may zero a page instead of making a hole.
// Only before the guest runs; later, madvise on guest RAM could raise userfaultfd events and block.
void ForbidHugePages(const RamLayout& layout);

}  // namespace ebb::plugin
