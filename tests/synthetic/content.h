// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "hostd/base/units.h"

namespace ebb::synthetic {

// The unit in which content and direct I/O are made.
inline constexpr size_t kSectorBytes = 512;
inline constexpr uint32_t kPageSectors = kPageBytes / kSectorBytes;
inline constexpr size_t kSectorWords = kSectorBytes / sizeof(uint64_t);

// What a slice of guest memory holds, as a value from which each of its words can be computed
// again. The version counts the writes to the slice.
class Stamp {
 public:
  enum class Kind : uint8_t {
    kZero,     // never written, or discarded
    kWords,    // depends on place and version; compresses to a half
    kFilled,   // one 32-bit value again and again, depending on place and version
    kSectors,  // read from the disk: depends on which sectors
    kRandom,   // as kWords, but does not compress
  };
  constexpr Stamp() = default;
  constexpr Stamp(Kind kind, uint32_t version, uint32_t first_sector = 0)
      : kind_(kind), version_(version), first_sector_(first_sector) {}

  constexpr Kind kind() const { return kind_; }
  constexpr uint32_t version() const { return version_; }
  constexpr uint32_t first_sector() const { return first_sector_; }

 private:
  Kind kind_ = Kind::kZero;
  uint32_t version_ = 0;
  uint32_t first_sector_ = 0;
};

std::string ToString(Stamp stamp);

// Computes contents. Thread-safe.
class Content {
 public:
  explicit Content(uint64_t seed) : seed_(seed) {}

  // Writes the content of the slice at `place` (unique for it), or of `stamp`'s sectors.
  void Compose(uint64_t place, Stamp stamp, std::span<uint64_t> words) const;

  // The index of the first word that differs, words.size() if none does. Reads each word once.
  size_t FirstDifference(uint64_t place, Stamp stamp,
                         std::span<const volatile uint64_t> words) const;

 private:
  uint64_t Word(uint64_t place, Stamp stamp, size_t index, size_t words) const;

  const uint64_t seed_;
};

}  // namespace ebb::synthetic
