// SPDX-License-Identifier: MIT
#pragma once

#include <compare>
#include <cstdint>

namespace ebb {

// Names a swapped page of one VM for as long as it is swapped, wherever its data lives. 0 is none.
struct SwapId {
  uint32_t value = 0;
  constexpr auto operator<=>(const SwapId&) const = default;
  constexpr explicit operator bool() const { return value != 0; }
};

// A page of zeros. It has no record: one page in six of a guest is such a page.
inline constexpr SwapId kZeroPageId{UINT32_MAX};

// Where an object lies in a VM's pool: its offset in units of kPoolGrainBytes. Never an address.
struct PoolHandle {
  uint64_t value = 0;
  constexpr auto operator<=>(const PoolHandle&) const = default;
};

// Where an object lies on a disk: in one of its 4 KiB blocks, counted from the disk's start, so
// many bytes into it. Never an address.
struct DiskLocation {
  uint8_t device = 0;         // below 16
  uint32_t block = 0;         // below 2^30
  uint16_t offset_bytes = 0;  // a multiple of kDiskGrainBytes, below 4096
  constexpr auto operator<=>(const DiskLocation&) const = default;
};
inline constexpr uint32_t kDiskGrainBytes = 16;

}  // namespace ebb
