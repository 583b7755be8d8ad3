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

}  // namespace ebb
