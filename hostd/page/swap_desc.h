// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>

#include "hostd/base/units.h"
#include "hostd/page/ids.h"

namespace ebb {

// Which tier holds the content.
enum class TierKind : uint8_t {
  kFree = 0,    // the record names no page
  kSameFilled,  // one 32-bit value repeated; needs no storage
  kPool,
};

// How the stored bytes become a page again.
enum class Codec : uint8_t {
  kRaw = 0,
  kLz4,
};

// The one authority on where a swapped page's content is, as an 8-byte value that changes in one
// store. Layout (version 1):
//   bits 0-3 tier, 4-7 codec, 8-20 length, 21-27 generation, 28-63 location
// The location is a PoolHandle, or the repeated value of a same-filled page. The generation grows
// with every use of the record, so that a reader that raced with a reuse sees another word.
class SwapLocation {
 public:
  static constexpr int kPoolHandleBits = 36;

  constexpr SwapLocation() = default;
  constexpr explicit SwapLocation(uint64_t bits) : bits_(bits) {}

  static constexpr SwapLocation SameFilled(uint32_t value) {
    return Make(TierKind::kSameFilled, Codec::kRaw, 0, value);
  }
  // `length_bytes` is 1..kPageBytes.
  static constexpr SwapLocation InPool(Codec codec, uint32_t length_bytes, PoolHandle handle) {
    return Make(TierKind::kPool, codec, length_bytes, handle.value);
  }
  constexpr SwapLocation WithGeneration(uint32_t generation) const {
    constexpr uint64_t kField = kGenerationMask << kGenerationShift;
    return SwapLocation((bits_ & ~kField) | ((generation & kGenerationMask) << kGenerationShift));
  }

  constexpr uint64_t bits() const { return bits_; }
  constexpr TierKind tier() const { return static_cast<TierKind>(bits_ & 0xf); }
  constexpr Codec codec() const { return static_cast<Codec>((bits_ >> 4) & 0xf); }
  constexpr uint32_t length_bytes() const { return (bits_ >> 8) & 0x1fff; }
  constexpr uint32_t generation() const { return (bits_ >> kGenerationShift) & kGenerationMask; }
  constexpr PoolHandle pool_handle() const { return {bits_ >> kLocationShift}; }
  constexpr uint32_t same_filled_value() const {
    return static_cast<uint32_t>(bits_ >> kLocationShift);
  }
  constexpr bool operator==(const SwapLocation&) const = default;

 private:
  static constexpr int kGenerationShift = 21;
  static constexpr uint64_t kGenerationMask = 0x7f;
  static constexpr int kLocationShift = 64 - kPoolHandleBits;

  static constexpr SwapLocation Make(TierKind tier, Codec codec, uint32_t length, uint64_t place) {
    return SwapLocation(static_cast<uint64_t>(tier) | (static_cast<uint64_t>(codec) << 4) |
                        (uint64_t{length} << 8) | (place << kLocationShift));
  }

  uint64_t bits_ = 0;
};

// A swap_desc record as a value: what a SwapId names.
struct SwapDesc {
  SwapLocation location;
  uint32_t checksum = 0;  // PageChecksum of the uncompressed page
};

// Checksum of a page that also depends on which page it is and on the life of it (page word
// generation) the content belongs to, so that a right page in the wrong place is caught too.
uint32_t PageChecksum(const std::byte* content, PageIndex page, uint32_t generation);

}  // namespace ebb
