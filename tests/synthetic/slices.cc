// SPDX-License-Identifier: MIT
#include "tests/synthetic/slices.h"

#include <algorithm>
#include <cstdio>
#include <utility>

#include "tests/synthetic/random.h"

namespace ebb::synthetic {
namespace {

constexpr size_t kPageWords = kPageBytes / sizeof(uint64_t);
static_assert(kVcpus * kSectorBytes == kPageBytes);

// How RAM is dealt out: in blocks of so many pages. Every other one is shared, the rest are whole
// pages; one block in so many belongs to the slow device.
struct Deal {
  uint64_t block_pages;
  uint64_t slow_device_blocks;

  uint64_t BlockOf(uint64_t page) const { return page / block_pages; }
  bool IsShared(uint64_t page) const { return BlockOf(page) % 2 == 0; }
  uint32_t OwnerOfWhole(uint64_t page) const {
    if (BlockOf(page) % slow_device_blocks == slow_device_blocks - 1) return kSlowDeviceOwner;
    return static_cast<uint32_t>(Mix(BlockOf(page)) % kVcpus);
  }
};
constexpr Deal kDeal = {16, 16};
// Of a few pages there must still be some of each sort.
constexpr Deal kSmallDeal = {1, 8};
constexpr uint64_t kSmallPages = 1024;

const Deal& DealOf(const GuestRam& ram) { return ram.pages() < kSmallPages ? kSmallDeal : kDeal; }

// About one block in so many of those that are not the slow device's is not touched before the
// hammering begins.
constexpr uint64_t kUntouchedBlocks = 16;
// How far back an older version is looked for.
constexpr uint32_t kOlderVersions = 64;

bool IsUntouched(const Deal& deal, uint64_t page) {
  return deal.OwnerOfWhole(page) != kSlowDeviceOwner &&
         Mix(~deal.BlockOf(page)) % kUntouchedBlocks == 0;
}

}  // namespace

Slices::Slices(const Parts& parts, uint32_t owner) : parts_(parts) {
  const Deal& deal = DealOf(*parts.ram);
  for (uint32_t page = 0; page < parts.ram->pages(); ++page) {
    if (!deal.IsShared(page) && owner == deal.OwnerOfWhole(page)) {
      slices_.push_back({.page = page, .first_word = 0, .words = kPageWords});
    } else if (deal.IsShared(page) && owner < kVcpus) {
      slices_.push_back({.page = page,
                         .first_word = static_cast<uint16_t>(owner * kSectorWords),
                         .words = kSectorWords});
    }
  }
}

bool Slices::is_whole_page(size_t slice) const { return slices_[slice].words == kPageWords; }

size_t Slices::FirstAtOrAfter(uint64_t page) const {
  const auto found =
      std::lower_bound(slices_.begin(), slices_.end(), page,
                       [](const Slice& slice, uint64_t wanted) { return slice.page < wanted; });
  return static_cast<size_t>(found - slices_.begin());
}

std::span<uint64_t> Slices::words(size_t slice) const {
  const Slice& of = slices_[slice];
  return {reinterpret_cast<uint64_t*>(parts_.ram->at(of.page)) + of.first_word, of.words};
}

uint64_t Slices::PlaceOf(const Slice& slice) const {
  return uint64_t{slice.page} * kPageWords + slice.first_word;
}

void Slices::Fill() {
  const Deal& deal = DealOf(*parts_.ram);
  for (size_t i = 0; i < slices_.size(); ++i) {
    if (!is_whole_page(i) || !IsUntouched(deal, slices_[i].page)) {
      Write(i, NextStamp(i, Stamp::Kind::kWords));
    }
  }
}

Stamp Slices::NextStamp(size_t slice, Stamp::Kind kind, uint32_t first_sector) const {
  // A slice that was found to be zero counts on from there.
  const Slice& of = slices_[slice];
  return {kind, std::max(of.expected.version(), of.before.version()) + 1, first_sector};
}

void Slices::Compose(size_t slice, Stamp stamp, std::span<uint64_t> words) const {
  parts_.content->Compose(PlaceOf(slices_[slice]), stamp, words);
}

void Slices::Expect(size_t slice, Stamp stamp) {
  Slice& of = slices_[slice];
  of.before = of.expected;
  of.expected = stamp;
  of.discarded = false;
}

void Slices::Write(size_t slice, Stamp stamp) {
  Compose(slice, stamp, words(slice));
  Expect(slice, stamp);
}

void Slices::Discard(size_t slice) { slices_[slice].discarded = true; }

bool Slices::Holds(const Slice& slice, Stamp stamp, std::span<const volatile uint64_t> copy) const {
  return parts_.content->FirstDifference(PlaceOf(slice), stamp, copy) == copy.size();
}

void Slices::VerifyCopy(size_t slice, std::span<const volatile uint64_t> copy, const char* how) {
  Slice& of = slices_[slice];
  const bool was_discarded = std::exchange(of.discarded, false);
  if (Holds(of, of.expected, copy)) return;
  if (was_discarded && Holds(of, Stamp(), copy)) {
    // From now on it must stay zero.
    of.before = of.expected;
    of.expected = Stamp();
    return;
  }
  parts_.mistakes->NoteWrong(std::string(how) + ": " + Describe(of, copy) +
                             (was_discarded ? " (discarded before)" : ""));
  Compose(slice, of.expected, words(slice));
}

std::string Slices::Describe(const Slice& slice, std::span<const volatile uint64_t> copy) const {
  const size_t at = parts_.content->FirstDifference(PlaceOf(slice), slice.expected, copy);
  if (at == copy.size()) return "wrong at first, right at the second look";
  char value[32];
  std::snprintf(value, sizeof value, "%016llx", static_cast<unsigned long long>(copy[at]));
  return "page " + std::to_string(slice.page) + " from word " +
         std::to_string(slice.first_word + at) + " of words " + std::to_string(slice.first_word) +
         " to " + std::to_string(slice.first_word + slice.words - 1) + ": expected " +
         ToString(slice.expected) + ", got " + WhatElse(slice, copy) + " (" + value + ")";
}

std::string Slices::WhatElse(const Slice& slice, std::span<const volatile uint64_t> copy) const {
  if (Holds(slice, Stamp(), copy)) return "zero";
  if (Holds(slice, slice.before, copy)) return "the one before: " + ToString(slice.before);
  const uint32_t version = slice.expected.version();
  for (uint32_t older = 1; older <= std::min(version, kOlderVersions); ++older) {
    for (const Stamp::Kind kind :
         {Stamp::Kind::kWords, Stamp::Kind::kFilled, Stamp::Kind::kRandom}) {
      const Stamp stamp(kind, version - older);
      if (Holds(slice, stamp, copy)) return "an older one: " + ToString(stamp);
    }
  }
  const auto zeros =
      std::count_if(copy.begin(), copy.end(), [](uint64_t word) { return word == 0; });
  return "garbage with " + std::to_string(zeros) + " zero words";
}

}  // namespace ebb::synthetic
