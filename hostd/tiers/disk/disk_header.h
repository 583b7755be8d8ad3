// SPDX-License-Identifier: MIT
// The first block of the disk tier, which says whose it is; docs/formats/disk_header.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "hostd/os/host_ids.h"
#include "hostd/tiers/disk/block_format.h"

namespace ebb {

struct DiskHeader {
  Id128 instance{};  // of the ebbd that wrote it, new at each start
  Id128 boot{};      // during which that was
  uint64_t disk_bytes = 0;

  bool operator==(const DiskHeader&) const = default;
};

void WriteDiskHeader(const DiskHeader& header, DiskBlock block);

// What lies at the start of something that is to become a disk tier.
struct DiskStart {
  enum class Kind {
    kNothing,  // zeros, or no bytes at all
    kOurs,     // a header of this version or an older one
    kDamaged,  // a header once
    kNewer,    // a header of a version that this Ebb does not know
    kForeign,  // none of Ebb's, or something else lies behind the header
  };
  Kind kind = Kind::kForeign;
  DiskHeader header;  // of kOurs

  // `start` is all before the first segment that may be used, or less where there is less. Safe on
  // any input.
  static DiskStart Of(std::span<const std::byte> start);
};

}  // namespace ebb
