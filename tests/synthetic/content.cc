// SPDX-License-Identifier: MIT
#include "tests/synthetic/content.h"

#include "tests/synthetic/random.h"

namespace ebb::synthetic {
namespace {

// Half of the words differ from each other, the others repeat.
uint64_t HalfRandom(uint64_t key, size_t index, size_t words) {
  return index < words / 2 ? Mix(key + index * 0x9e3779b97f4a7c15) : Mix(key);
}

}  // namespace

std::string ToString(Stamp stamp) {
  std::string version = "version " + std::to_string(stamp.version());
  switch (stamp.kind()) {
    case Stamp::Kind::kZero:
      return "zeros";
    case Stamp::Kind::kWords:
      return version;
    case Stamp::Kind::kFilled:
      return version + ", same-filled";
    case Stamp::Kind::kSectors:
      return version + ", disk sector " + std::to_string(stamp.first_sector());
    case Stamp::Kind::kRandom:
      return version + ", random";
  }
  return "?";
}

uint64_t Content::Word(uint64_t place, Stamp stamp, size_t index, size_t words) const {
  const uint64_t key = Mix(seed_ ^ Mix(place) ^ (uint64_t{stamp.version()} << 32));
  switch (stamp.kind()) {
    case Stamp::Kind::kZero:
      return 0;
    case Stamp::Kind::kWords:
      return HalfRandom(key, index, words);
    case Stamp::Kind::kFilled: {
      const uint64_t value = (key & UINT32_MAX) | 1;
      return value << 32 | value;
    }
    case Stamp::Kind::kSectors: {
      const uint64_t sector = stamp.first_sector() + index / kSectorWords;
      return HalfRandom(Mix(seed_ + 1) ^ Mix(sector), index % kSectorWords, kSectorWords);
    }
    case Stamp::Kind::kRandom:
      return Mix(key + (index + 1) * 0x9e3779b97f4a7c15);
  }
  return 0;
}

void Content::Compose(uint64_t place, Stamp stamp, std::span<uint64_t> words) const {
  for (size_t i = 0; i < words.size(); ++i) words[i] = Word(place, stamp, i, words.size());
}

size_t Content::FirstDifference(uint64_t place, Stamp stamp,
                                std::span<const volatile uint64_t> words) const {
  for (size_t i = 0; i < words.size(); ++i) {
    if (words[i] != Word(place, stamp, i, words.size())) return i;
  }
  return words.size();
}

}  // namespace ebb::synthetic
