// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "tests/synthetic/content.h"
#include "tests/synthetic/guest_ram.h"
#include "tests/synthetic/mistakes.h"

namespace ebb::synthetic {

// As many as there are sectors in a page: each VCPU owns one sector of every shared page.
inline constexpr uint32_t kVcpus = 8;
// The owner of the pages that only the slow device writes to.
inline constexpr uint32_t kSlowDeviceOwner = kVcpus;

// The slices of guest RAM that one thread owns, in ascending order, and what each must hold. A
// slice is a sector of a page that all VCPUs share, or a whole page. Nobody else writes to it, so
// that its owner always knows what must be there. Thread-bound to the owner.
class Slices {
 public:
  struct Parts {
    GuestRam* ram;
    const Content* content;
    Mistakes* mistakes;
  };
  Slices(const Parts& parts, uint32_t owner);

  size_t count() const { return slices_.size(); }
  uint64_t page(size_t slice) const { return slices_[slice].page; }
  bool is_whole_page(size_t slice) const;
  // count() if there is none.
  size_t FirstAtOrAfter(uint64_t page) const;
  // Its guest memory.
  std::span<uint64_t> words(size_t slice) const;
  void* data(size_t slice) const { return words(slice).data(); }
  size_t bytes(size_t slice) const { return words(slice).size_bytes(); }

  // Writes to all slices but those that are left to be touched for the first time later.
  void Fill();

  // Compares guest memory, or a copy somebody made of it, with what it must be. What is wrong is
  // noted, and put right so that it is counted once.
  void Verify(size_t slice, const char* how) { VerifyCopy(slice, words(slice), how); }
  void VerifyCopy(size_t slice, std::span<const volatile uint64_t> copy, const char* how);

  // The stamp for the next write.
  Stamp NextStamp(size_t slice, Stamp::Kind kind, uint32_t first_sector = 0) const;
  void Compose(size_t slice, Stamp stamp, std::span<uint64_t> words) const;
  // From now on the slice must hold this; somebody else wrote it there.
  void Expect(size_t slice, Stamp stamp);
  void Write(size_t slice, Stamp stamp);

  // Until it is looked at or written the next time, the slice may be zero or what it was.
  void Discard(size_t slice);

 private:
  struct Slice {
    uint32_t page;
    uint16_t first_word;
    uint16_t words;
    bool discarded = false;
    Stamp expected = {};
    Stamp before = {};  // for telling what is wrong
  };

  uint64_t PlaceOf(const Slice& slice) const;
  bool Holds(const Slice& slice, Stamp stamp, std::span<const volatile uint64_t> copy) const;
  std::string Describe(const Slice& slice, std::span<const volatile uint64_t> copy) const;
  std::string WhatElse(const Slice& slice, std::span<const volatile uint64_t> copy) const;

  const Parts parts_;
  std::vector<Slice> slices_;
};

}  // namespace ebb::synthetic
