// SPDX-License-Identifier: MIT
#include "hostd/page/page_word.h"

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <set>
#include <string>

namespace ebb {
namespace {

constexpr uint32_t kMaxGeneration = (uint32_t{1} << 24) - 1;

constexpr std::array<PageState, kPageStates> kStates = {
    PageState::kResident,    PageState::kCooling,  PageState::kGuarded,
    PageState::kSwappingOut, PageState::kDropping, PageState::kSwapped,
    PageState::kSwappingIn,  PageState::kFixing,   PageState::kLost,
};

// The protocol, written out: a row is where a page comes from, a column where it goes, in the order
// of kStates. Columns: Resident Cooling Guarded sOut Dropping Swapped sIn Fixing Lost.
constexpr std::array<const char*, kPageStates> kLegal = {
    ". C . . . . . F .",  // Resident
    ". . G . . . . F .",  // Cooling
    ". . . O . . . F .",  // Guarded
    ". . . . D . . F .",  // SwappingOut
    ". . . . . S . . .",  // Dropping
    "R . . . . . I . .",  // Swapped
    "R . . . . S . . L",  // SwappingIn
    "R . . . . . . . .",  // Fixing
    ". . . . . . I . .",  // Lost
};

TEST(PageWord, LegalTransitionsAreExactlyThoseOfTheTable) {
  for (int from = 0; from < kPageStates; ++from) {
    for (int to = 0; to < kPageStates; ++to) {
      EXPECT_EQ(IsLegalTransition(kStates[from], kStates[to]), kLegal[from][2 * to] != '.')
          << PageStateName(kStates[from]) << " -> " << PageStateName(kStates[to]);
    }
  }
}

TEST(PageWord, OnlyDroppingSwappingInAndFixingAreOwned) {
  for (const PageState state : kStates) {
    const bool owned = state == PageState::kDropping || state == PageState::kSwappingIn ||
                       state == PageState::kFixing;
    EXPECT_EQ(IsOwned(state), owned) << PageStateName(state);
  }
}

// Values of layout version 1: a later ebbd reads words that an earlier one has written.
TEST(PageWord, LayoutHasGoldenValues) {
  EXPECT_EQ(PageWord().bits(), 0u);
  EXPECT_EQ(PageWord(PageState::kResident, 0, {}).bits(), 0u) << "fresh memory is all Resident";
  for (int state = 0; state < kPageStates; ++state) {
    EXPECT_EQ(PageWord(kStates[state], 0, {}).bits(), static_cast<uint64_t>(state));
  }
  EXPECT_EQ(PageWord().WithWaiter().bits(), 0x10u);
  EXPECT_EQ(PageWord().WithDiscarded().bits(), 0x20u);
  EXPECT_EQ(PageWord(PageState::kResident, 1, {}).bits(), 0x100u);
  EXPECT_EQ(PageWord(PageState::kResident, 0, {1}).bits(), 0x1'0000'0000u);
  EXPECT_EQ(PageWord(PageState::kSwapped, 0xabcdef, {0x12345678}).bits(), 0x12345678'abcdef05u);
  EXPECT_EQ(
      PageWord(PageState::kLost, kMaxGeneration, {UINT32_MAX}).WithWaiter().WithDiscarded().bits(),
      0xffffffff'ffffff38u);
}

TEST(PageWord, FieldsReadBackWhatGoldenBitsSay) {
  const PageWord word(0x12345678'abcdef35u);
  EXPECT_EQ(word.state(), PageState::kSwapped);
  EXPECT_TRUE(word.waiter());
  EXPECT_TRUE(word.discarded());
  EXPECT_EQ(word.generation(), 0xabcdefu);
  EXPECT_EQ(word.swap_id(), SwapId{0x12345678});
}

TEST(PageWord, FieldsDoNotLeakIntoEachOther) {
  const PageWord generation_only(PageState::kResident, kMaxGeneration, {});
  EXPECT_EQ(generation_only.state(), PageState::kResident);
  EXPECT_FALSE(generation_only.waiter());
  EXPECT_FALSE(generation_only.discarded());
  EXPECT_FALSE(generation_only.swap_id());
  const PageWord id_only(PageState::kResident, 0, {UINT32_MAX});
  EXPECT_EQ(id_only.generation(), 0u);
  EXPECT_EQ(PageWord(PageState::kResident, kMaxGeneration + 5, {}).generation(), 4u)
      << "a generation too large must not spill into the id";
}

TEST(PageWord, MovingClearsFlagsAndTakesTheNewId) {
  const PageWord flagged = PageWord(PageState::kDropping, 7, {3}).WithWaiter().WithDiscarded();
  const PageWord moved = flagged.MovedTo(PageState::kSwapped, {9});
  EXPECT_EQ(moved, PageWord(PageState::kSwapped, 7, {9}));
  EXPECT_FALSE(moved.waiter());
  EXPECT_FALSE(moved.discarded());
}

TEST(PageWord, GenerationGrowsOnlyOnBecomingResident) {
  const PageWord word(PageState::kSwappingIn, 41, {1});
  for (const PageState to : kStates) {
    EXPECT_EQ(word.MovedTo(to, {}).generation(), to == PageState::kResident ? 42u : 41u)
        << PageStateName(to);
  }
}

TEST(PageWord, GenerationWrapsToZeroWithoutTouchingTheId) {
  const PageWord last(PageState::kFixing, kMaxGeneration, {});
  const PageWord wrapped = last.MovedTo(PageState::kResident, {5});
  EXPECT_EQ(wrapped.generation(), 0u);
  EXPECT_EQ(wrapped.swap_id(), SwapId{5});
  EXPECT_EQ(wrapped.state(), PageState::kResident);
}

TEST(PageWord, StateNamesDiffer) {
  std::set<std::string> names;
  for (const PageState state : kStates) names.insert(PageStateName(state));
  EXPECT_EQ(names.size(), static_cast<size_t>(kPageStates));
  EXPECT_EQ(names.count("?"), 0u);
}

}  // namespace
}  // namespace ebb
