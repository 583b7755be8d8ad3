// SPDX-License-Identifier: MIT
#include "tests/guest/content.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace ebb::guest {
namespace {

constexpr size_t kWords = kPageBytes / sizeof(uint64_t);
constexpr size_t kGroupWords = 16;
constexpr size_t kGroups = kWords / kGroupWords;

// Per thousand pages; the rest compresses more or less. content_test.cc holds the mix to its ratio.
constexpr uint64_t kZeroPerMille = 50;
constexpr uint64_t kIncompressiblePerMille = 50;

// A compressible page has at least this many random words in each group of 16, and at most
// kMinRandomWords + kRandomWordsSpread, in steps of one word per page.
constexpr uint64_t kMinRandomWords = 1;
constexpr uint64_t kRandomWordsSpread = 11;

constexpr uint32_t kOlderVersionsTried = 16;

using PageWords = std::array<uint64_t, kWords>;

// Finalizer of splitmix64: every input bit reaches every output bit.
uint64_t Mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

struct Recipe {
  bool zero = false;
  uint64_t random_words = 0;  // in all groups together
  uint64_t random = 0;        // start of the page's random sequence
  uint64_t filler = 0;        // what the page repeats
};

Recipe RecipeOf(const PageId& id) {
  const uint64_t page = Mix(Mix(id.seed + id.address) + id.version);
  const uint64_t kind = (page >> 32) % 1000;
  Recipe recipe;
  recipe.zero = kind < kZeroPerMille;
  if (kind < kZeroPerMille + kIncompressiblePerMille) {
    recipe.random_words = kWords;
  } else {
    recipe.random_words =
        kMinRandomWords * kGroups + (page & 0xffffffff) % (kRandomWordsSpread * kGroups + 1);
  }
  recipe.random = Mix(page + 1);
  recipe.filler = Mix(page + 2) | 1;
  return recipe;
}

// Calls sink(word) for each of the page's words in order.
template <typename Sink>
inline void ForEachWord(const Recipe& recipe, Sink&& sink) {
  if (recipe.zero) {
    for (size_t i = 0; i < kWords; ++i) sink(0);
    return;
  }
  const size_t random_per_group = recipe.random_words / kGroups;
  const size_t groups_with_one_more = recipe.random_words % kGroups;
  uint64_t random = recipe.random;
  for (size_t group = 0; group < kGroups; ++group) {
    const size_t random_words = random_per_group + (group < groups_with_one_more ? 1 : 0);
    for (size_t i = 0; i < random_words; ++i) {
      sink(random);
      random = random * 0x5851f42d4c957f2d + 0x14057b7ef767814f;
    }
    for (size_t i = random_words; i < kGroupWords; ++i) sink(recipe.filler);
  }
}

PageWords WordsOf(const PageId& id) {
  PageWords words;
  FillPage(id, words.data());
  return words;
}

bool IsZero(const PageWords& words) {
  return std::all_of(words.begin(), words.end(), [](uint64_t word) { return word == 0; });
}

// Names what `got` is, if it is anything known.
void Recognise(const PageId& id, const PageWords& got, PageDifference& difference) {
  if (IsZero(got)) {
    difference.content = WrongContent::kZero;
    return;
  }
  const uint32_t tries = std::min(id.version, kOlderVersionsTried);
  for (uint32_t back = 1; back <= tries; ++back) {
    const uint32_t version = id.version - back;
    if (PageMatches({id.seed, id.address, version}, got.data())) {
      difference.content = WrongContent::kOlderVersion;
      difference.older_version = version;
      return;
    }
  }
}

}  // namespace

void FillPage(const PageId& id, void* page) {
  auto* word = static_cast<uint64_t*>(page);
  ForEachWord(RecipeOf(id), [&word](uint64_t value) { *word++ = value; });
}

bool PageMatches(const PageId& id, const void* page) {
  const auto* word = static_cast<const uint64_t*>(page);
  uint64_t different = 0;
  ForEachWord(RecipeOf(id), [&](uint64_t value) { different |= *word++ ^ value; });
  return different == 0;
}

PageDifference ComparePage(const PageId& id, const void* page) {
  PageWords got;
  std::memcpy(got.data(), page, kPageBytes);
  const PageWords expected = WordsOf(id);
  const auto* got_bytes = reinterpret_cast<const uint8_t*>(got.data());
  const auto* expected_bytes = reinterpret_cast<const uint8_t*>(expected.data());

  PageDifference difference;
  for (size_t offset = 0; offset < kPageBytes; ++offset) {
    if (got_bytes[offset] == expected_bytes[offset]) continue;
    if (difference.wrong_bytes++ > 0) continue;
    difference.first_offset = offset;
    difference.expected = expected_bytes[offset];
    difference.got = got_bytes[offset];
  }
  if (difference.wrong_bytes == 0) {
    difference.wrong_bytes = 1;
    difference.content = WrongContent::kRightByNow;
    return difference;
  }
  Recognise(id, got, difference);
  return difference;
}

const char* WrongContentName(WrongContent content) {
  switch (content) {
    case WrongContent::kOther:
      return "other";
    case WrongContent::kZero:
      return "zero";
    case WrongContent::kOlderVersion:
      return "older_version";
    case WrongContent::kRightByNow:
      return "right_by_now";
  }
  return "unknown";
}

}  // namespace ebb::guest
