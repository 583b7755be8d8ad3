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
  kDisk,
};

// How the stored bytes become a page again.
enum class Codec : uint8_t {
  kRaw = 0,
  kLz4,
};

// The one authority on where a swapped page's content is, as an 8-byte value that changes in one
// store. Layout (version 2):
//   bits 0-2 tier, 3-5 codec, 6-17 length - 1, 18-21 generation, 22-63 place
// The place is a PoolHandle; a DiskLocation (bits 22-29 offset in grains, 30-59 block, 60-63
// device); or the repeated value of a same-filled page. The generation grows with every use and
// every move of the record, so that who looked before sees another word.
class SwapLocation {
 public:
  static constexpr int kPoolHandleBits = 42;
  static constexpr int kDiskBlockBits = 30;

  constexpr SwapLocation() = default;
  constexpr explicit SwapLocation(uint64_t bits) : bits_(bits) {}

  static constexpr SwapLocation SameFilled(uint32_t value) {
    return Make(TierKind::kSameFilled, Codec::kRaw, 1, value);
  }
  // `length_bytes` is 1..kPageBytes.
  static constexpr SwapLocation InPool(Codec codec, uint32_t length_bytes, PoolHandle handle) {
    return Make(TierKind::kPool, codec, length_bytes, handle.value);
  }
  static constexpr SwapLocation OnDisk(Codec codec, uint32_t length_bytes, DiskLocation at) {
    return Make(TierKind::kDisk, codec, length_bytes,
                at.offset_bytes / kDiskGrainBytes | (uint64_t{at.block} << kDiskOffsetBits) |
                    (uint64_t{at.device} << (kDiskOffsetBits + kDiskBlockBits)));
  }
  constexpr SwapLocation WithGeneration(uint32_t generation) const {
    constexpr uint64_t kField = kGenerationMask << kGenerationShift;
    return SwapLocation((bits_ & ~kField) | ((generation & kGenerationMask) << kGenerationShift));
  }

  constexpr uint64_t bits() const { return bits_; }
  constexpr TierKind tier() const { return static_cast<TierKind>(bits_ & 0x7); }
  constexpr Codec codec() const { return static_cast<Codec>((bits_ >> kCodecShift) & 0x7); }
  // Of the stored bytes; means nothing for a tier without storage.
  constexpr uint32_t length_bytes() const {
    return static_cast<uint32_t>((bits_ >> kLengthShift) & kLengthMask) + 1;
  }
  constexpr uint32_t generation() const { return (bits_ >> kGenerationShift) & kGenerationMask; }
  constexpr PoolHandle pool_handle() const { return {bits_ >> kPlaceShift}; }
  constexpr DiskLocation disk_location() const {
    const uint64_t place = bits_ >> kPlaceShift;
    return {static_cast<uint8_t>(place >> (kDiskOffsetBits + kDiskBlockBits)),
            static_cast<uint32_t>(place >> kDiskOffsetBits) & ((1u << kDiskBlockBits) - 1),
            static_cast<uint16_t>((place & ((1u << kDiskOffsetBits) - 1)) * kDiskGrainBytes)};
  }
  constexpr uint32_t same_filled_value() const {
    return static_cast<uint32_t>(bits_ >> kPlaceShift);
  }
  constexpr bool operator==(const SwapLocation&) const = default;

 private:
  static constexpr int kCodecShift = 3;
  static constexpr int kLengthShift = 6;
  static constexpr uint64_t kLengthMask = kPageBytes - 1;
  static constexpr int kGenerationShift = 18;
  static constexpr uint64_t kGenerationMask = 0xf;
  static constexpr int kPlaceShift = 64 - kPoolHandleBits;
  static constexpr int kDiskOffsetBits = 8;

  static constexpr SwapLocation Make(TierKind tier, Codec codec, uint32_t length, uint64_t place) {
    return SwapLocation(static_cast<uint64_t>(tier) |
                        (static_cast<uint64_t>(codec) << kCodecShift) |
                        (uint64_t{length - 1} << kLengthShift) | (place << kPlaceShift));
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
