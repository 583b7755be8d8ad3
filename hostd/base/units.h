// SPDX-License-Identifier: MIT
// Page and address types. Sizes in bytes are uint64_t named *_bytes; a count or an index of
// pages is one of these types, so that the two cannot be mixed up.
#pragma once

#include <compare>
#include <cstdint>

namespace ebb {

// The only page size Ebb manages. Huge pages are refused at attach.
inline constexpr uint64_t kPageBytes = 4096;

inline constexpr uint64_t kMiB = uint64_t{1} << 20;

inline constexpr int64_t kNsPerUs = 1000;
inline constexpr int64_t kNsPerMs = 1000 * 1000;
inline constexpr int64_t kNsPerS = 1000 * 1000 * 1000;

constexpr uint64_t PagesToBytes(uint64_t pages) { return pages * kPageBytes; }
constexpr uint64_t BytesToPages(uint64_t bytes) { return bytes / kPageBytes; }

// One managed page of a VM: its RAM blocks laid end to end, counted from 0. Not a GFN.
struct PageIndex {
  uint64_t value = 0;
  constexpr auto operator<=>(const PageIndex&) const = default;
};
constexpr PageIndex operator+(PageIndex page, uint64_t pages) { return {page.value + pages}; }

// Pages [first, first + count).
struct PageRange {
  PageIndex first;
  uint64_t count = 0;

  constexpr PageIndex end() const { return first + count; }
  constexpr bool Contains(PageIndex page) const { return first <= page && page < end(); }
  constexpr bool operator==(const PageRange&) const = default;
};

// Host virtual address in QEMU's address space (KVM's hva_t). Never dereferenced by ebbd.
struct Hva {
  uint64_t value = 0;
  constexpr auto operator<=>(const Hva&) const = default;
};

}  // namespace ebb
