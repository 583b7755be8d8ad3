// SPDX-License-Identifier: MIT
#include "hostd/page/page_words.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <latch>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "hostd/base/wait_checks.h"

namespace ebb {
namespace {

using enum PageState;

constexpr uint64_t kPages = 8;

class PageWordsTest : public testing::Test {
 protected:
  // Writes a word past the protocol, as memory that another process has left.
  void Put(PageIndex page, PageWord word) { memory_[page.value] = word.bits(); }

  // Takes the page along `path`, which must be legal, by TryMove or Leave as its state demands.
  PageWord Walk(PageIndex page, std::initializer_list<PageState> path) {
    for (const PageState to : path) {
      const PageWord word = words_.Load(page);
      if (IsOwned(word.state())) {
        words_.Leave(page, to, word.swap_id());
      } else {
        EXPECT_TRUE(words_.TryMove(page, word, to)) << PageStateName(to);
      }
    }
    return words_.Load(page);
  }

  // Words that Put wrote are owned by nobody here, and are left all the same.
  const AnotherThreadsWork owners_;
  std::vector<uint64_t> memory_ = std::vector<uint64_t>(kPages);
  PageWords words_{reinterpret_cast<std::byte*>(memory_.data()), kPages};
};

using PageWordsDeathTest = PageWordsTest;

TEST_F(PageWordsTest, FreshMemoryIsResidentInItsFirstGeneration) {
  for (PageIndex page; page.value < kPages; page = page + 1) {
    EXPECT_EQ(words_.Load(page), PageWord(kResident, 0, {}));
  }
}

TEST_F(PageWordsTest, MoveReturnsTheNewWordAndStoresItWithItsId) {
  const auto moved = words_.TryMove({3}, words_.Load({3}), kCooling, {77});
  ASSERT_TRUE(moved);
  EXPECT_EQ(*moved, PageWord(kCooling, 0, {77}));
  EXPECT_EQ(words_.Load({3}), *moved);
  EXPECT_EQ(words_.Load({2}), PageWord()) << "its neighbours are other pages";
  EXPECT_EQ(words_.Load({4}), PageWord());
}

TEST_F(PageWordsTest, MoveFromAChangedWordFailsAndChangesNothing) {
  const PageWord stale = words_.Load({0});
  const PageWord now = Walk({0}, {kCooling});
  EXPECT_FALSE(words_.TryMove({0}, stale, kFixing));
  EXPECT_EQ(words_.Load({0}), now);
}

// The state is the same as before, the id too: only the generation tells the two lives apart.
TEST_F(PageWordsTest, WordOfAnEarlierLifeFailsAfterAWholeLife) {
  const PageWord resident = words_.Load({0});
  const PageWord cooling = *words_.TryMove({0}, resident, kCooling);
  const PageWord again =
      Walk({0}, {kGuarded, kSwappingOut, kDropping, kSwapped, kSwappingIn, kResident});
  EXPECT_EQ(again.state(), resident.state());
  EXPECT_EQ(again.swap_id(), resident.swap_id());
  EXPECT_FALSE(words_.TryMove({0}, resident, kCooling));

  Walk({0}, {kCooling});
  EXPECT_FALSE(words_.TryMove({0}, cooling, kGuarded)) << "Cooling again, but another Cooling";
}

TEST_F(PageWordsTest, ClaimOfAPageThatWasFixedFails) {
  const PageWord guarded = Walk({0}, {kCooling, kGuarded});
  Walk({0}, {kFixing, kResident, kCooling, kGuarded});
  EXPECT_FALSE(words_.TryMove({0}, guarded, kSwappingOut)) << "a fault took it back in between";
}

TEST_F(PageWordsTest, MoveFailsWhereOnlyTheIdDiffers) {
  Put({0}, PageWord(kSwapped, 5, {8}));
  EXPECT_FALSE(words_.TryMove({0}, PageWord(kSwapped, 5, {9}), kSwappingIn));
  EXPECT_EQ(words_.Load({0}), PageWord(kSwapped, 5, {8}));
}

TEST_F(PageWordsTest, DiscardOfASwappedPageStartsANewLife) {
  Put({0}, PageWord(kSwapped, 5, {8}));
  ASSERT_TRUE(words_.TryMove({0}, words_.Load({0}), kResident));
  EXPECT_EQ(words_.Load({0}), PageWord(kResident, 6, {}));
}

TEST_F(PageWordsTest, GenerationWrapsAroundInPlace) {
  constexpr uint32_t kLast = (uint32_t{1} << 24) - 1;
  Put({0}, PageWord(kFixing, kLast, {}));
  words_.Leave({0}, kResident);
  EXPECT_EQ(words_.Load({0}), PageWord(kResident, 0, {}));
}

TEST_F(PageWordsTest, LeaveReturnsTheFlagsThatArrivedAndClearsThem) {
  Walk({0}, {kFixing});
  ASSERT_TRUE(words_.TrySetWaiter({0}, words_.Load({0})));
  const PageWord left = words_.Leave({0}, kResident);
  EXPECT_TRUE(left.waiter());
  EXPECT_FALSE(left.discarded());
  EXPECT_EQ(left.state(), kFixing);
  EXPECT_EQ(words_.Load({0}), PageWord(kResident, 1, {}));
}

TEST_F(PageWordsTest, LeaveReturnsBothFlagsInWhicheverOrderTheyArrived) {
  for (const bool waiter_first : {true, false}) {
    const PageIndex page{waiter_first ? uint64_t{0} : uint64_t{1}};
    Put(page, PageWord(kDropping, 2, {4}));
    if (waiter_first) {
      ASSERT_TRUE(words_.TrySetWaiter(page, words_.Load(page)));
    }
    ASSERT_TRUE(words_.TrySetDiscarded(page, words_.Load(page)));
    if (!waiter_first) {
      ASSERT_TRUE(words_.TrySetWaiter(page, words_.Load(page)));
    }
    const PageWord left = words_.Leave(page, kSwapped, {4});
    EXPECT_TRUE(left.waiter());
    EXPECT_TRUE(left.discarded());
    EXPECT_EQ(words_.Load(page), PageWord(kSwapped, 2, {4}));
  }
}

TEST_F(PageWordsTest, LeaveWithoutNewsReturnsNoFlags) {
  Walk({0}, {kFixing});
  const PageWord left = words_.Leave({0}, kResident);
  EXPECT_FALSE(left.waiter());
  EXPECT_FALSE(left.discarded());
}

TEST_F(PageWordsTest, FlagsKeepStateGenerationAndId) {
  Put({0}, PageWord(kSwappingIn, 9, {6}));
  ASSERT_TRUE(words_.TrySetWaiter({0}, words_.Load({0})));
  ASSERT_TRUE(words_.TrySetDiscarded({0}, words_.Load({0})));
  const PageWord flagged = words_.Load({0});
  EXPECT_EQ(flagged.state(), kSwappingIn);
  EXPECT_EQ(flagged.generation(), 9u);
  EXPECT_EQ(flagged.swap_id(), SwapId{6});
}

TEST_F(PageWordsTest, FlagIsNotSetOnAPageWhoseOwnerHasLeft) {
  Put({0}, PageWord(kSwappingIn, 9, {6}));
  const PageWord seen = words_.Load({0});
  words_.Leave({0}, kSwapped, {6});
  EXPECT_FALSE(words_.TrySetWaiter({0}, seen));
  EXPECT_FALSE(words_.TrySetDiscarded({0}, seen));
  EXPECT_EQ(words_.Load({0}), PageWord(kSwapped, 9, {6})) << "a flag here would be lost";
}

TEST_F(PageWordsTest, SecondWaiterIsServedWithTheFirst) {
  Put({0}, PageWord(kDropping, 0, {1}));
  ASSERT_TRUE(words_.TrySetWaiter({0}, words_.Load({0})));
  EXPECT_TRUE(words_.TrySetWaiter({0}, words_.Load({0})));
  EXPECT_TRUE(words_.Leave({0}, kSwapped, {1}).waiter());
}

TEST_F(PageWordsDeathTest, EveryIllegalMoveEndsTheDaemon) {
  for (int from = 0; from < kPageStates; ++from) {
    for (int to = 0; to < kPageStates; ++to) {
      const auto from_state = static_cast<PageState>(from);
      const auto to_state = static_cast<PageState>(to);
      if (IsLegalTransition(from_state, to_state)) continue;
      Put({0}, PageWord(from_state, 0, {1}));
      SCOPED_TRACE(std::string(PageStateName(from_state)) + " -> " + PageStateName(to_state));
      if (IsOwned(from_state)) {
        EXPECT_DEATH(words_.Leave({0}, to_state), "illegal page transition");
      } else {
        EXPECT_DEATH(words_.TryMove({0}, words_.Load({0}), to_state), "illegal page transition");
      }
    }
  }
}

TEST_F(PageWordsDeathTest, OwnedPageIsNotTakenByAnother) {
  for (const PageState state : {kDropping, kSwappingIn, kFixing}) {
    Put({0}, PageWord(state, 0, {1}));
    const PageState to = state == kFixing ? kResident : kSwapped;
    EXPECT_DEATH(words_.TryMove({0}, words_.Load({0}), to), "left, not taken")
        << PageStateName(state);
  }
}

TEST_F(PageWordsDeathTest, OnlyAnOwnerLeaves) {
  Put({0}, PageWord(kSwapped, 0, {1}));
  EXPECT_DEATH(words_.Leave({0}, kResident), "not owned");
}

TEST_F(PageWordsDeathTest, FlagsAreForOwnedPagesOnly) {
  for (const PageState state : {kResident, kCooling, kGuarded, kSwappingOut, kSwapped, kLost}) {
    Put({0}, PageWord(state, 0, {1}));
    EXPECT_DEATH(words_.TrySetWaiter({0}, words_.Load({0})), "only an owned page");
    EXPECT_DEATH(words_.TrySetDiscarded({0}, words_.Load({0})), "only an owned page");
  }
}

TEST_F(PageWordsDeathTest, PageOutsideTheRamEndsTheDaemon) {
  EXPECT_DEATH(words_.Load({kPages}), "outside the VM's RAM");
  EXPECT_DEATH(words_.TryMove({UINT64_MAX}, PageWord(), kCooling), "outside the VM's RAM");
}

// Many pages, so that threads that start together meet on some of them.
class PageWordsRace : public testing::Test {
 protected:
  static constexpr uint64_t kManyPages = 50'000;

  void PutAll(PageWord word) { std::fill(memory_.begin(), memory_.end(), word.bits()); }
  // Runs the actions at the same time, each over all pages in order.
  template <typename... Actions>
  void RunOnAllPages(const Actions&... actions) {
    std::latch go(sizeof...(actions));
    const auto run = [&go](const auto& action) {
      go.arrive_and_wait();
      for (PageIndex page; page.value < kManyPages; page = page + 1) action(page);
    };
    std::vector<std::jthread> threads;
    (threads.emplace_back([&run, &actions] { run(actions); }), ...);
  }

  std::vector<uint64_t> memory_ = std::vector<uint64_t>(kManyPages);
  PageWords words_{reinterpret_cast<std::byte*>(memory_.data()), kManyPages};
};

// Reclaim wants SwappingOut, faults want Fixing.
TEST_F(PageWordsRace, RacingMovesHaveExactlyOneWinner) {
  const PageWord start(kGuarded, 3, {});
  PutAll(start);
  std::vector<std::atomic<int>> winners(kManyPages);
  const auto take = [&](PageState to) {
    return [&, to](PageIndex page) {
      const AnotherThreadsWork never_leaves;
      if (words_.TryMove(page, start, to)) ++winners[page.value];
    };
  };
  RunOnAllPages(take(kFixing), take(kSwappingOut), take(kFixing), take(kSwappingOut));
  for (uint64_t page = 0; page < kManyPages; ++page) ASSERT_EQ(winners[page], 1) << page;
}

// An owner leaves while others set flags: each flag that was set is in the word it left.
TEST_F(PageWordsRace, FlagSetWhileTheOwnerLeavesIsNeverLost) {
  const PageWord owned(kSwappingIn, 3, {1});
  PutAll(owned);
  std::vector<char> waiter(kManyPages);
  std::vector<char> discarded(kManyPages);
  std::vector<PageWord> left(kManyPages);
  RunOnAllPages(
      [&](PageIndex page) {
        for (PageWord word = words_.Load(page); IsOwned(word.state()) && !waiter[page.value];) {
          waiter[page.value] = words_.TrySetWaiter(page, word);
          word = words_.Load(page);
        }
      },
      [&](PageIndex page) {
        for (PageWord word = words_.Load(page); IsOwned(word.state()) && !discarded[page.value];) {
          discarded[page.value] = words_.TrySetDiscarded(page, word);
          word = words_.Load(page);
        }
      },
      [&](PageIndex page) {
        const AnotherThreadsWork of_the_owner;
        left[page.value] = words_.Leave(page, kSwapped, {1});
      });
  for (PageIndex page; page.value < kManyPages; page = page + 1) {
    ASSERT_EQ(left[page.value].waiter(), waiter[page.value] != 0) << page.value;
    ASSERT_EQ(left[page.value].discarded(), discarded[page.value] != 0) << page.value;
    ASSERT_EQ(words_.Load(page), owned.MovedTo(kSwapped, {1})) << page.value;
  }
}

// The owner changes all the time: a life in one thread, takers with stale words in the others.
TEST_F(PageWordsRace, StaleClaimsNeverSucceedWhileAPageLivesOn) {
  constexpr uint32_t kLives = 20'000;
  std::atomic<uint64_t> stolen{0};
  std::atomic<bool> over{false};
  std::latch go(2);
  std::jthread thief([&] {
    go.arrive_and_wait();
    while (!over) {
      const PageWord seen = words_.Load({0});
      if (seen.state() != kCooling && seen.state() != kGuarded) continue;
      if (!words_.TryMove({0}, seen, kFixing)) continue;
      words_.Leave({0}, kResident);
      ++stolen;
    }
  });
  go.arrive_and_wait();
  uint64_t lost = 0;
  for (uint32_t life = 0; life < kLives; ++life) {
    // The thief leaves a page in Fixing for a moment only.
    PageWord word = words_.Load({0});
    while (word.state() != kResident) word = words_.Load({0});
    std::optional<PageWord> claim = words_.TryMove({0}, word, kCooling);
    if (claim) claim = words_.TryMove({0}, *claim, kGuarded);
    if (claim) claim = words_.TryMove({0}, *claim, kFixing);
    if (claim) words_.Leave({0}, kResident);
    if (!claim) ++lost;
  }
  over = true;
  thief.join();
  EXPECT_EQ(lost, stolen.load()) << "each claim was lost to one theft, and none succeeded twice";
  EXPECT_EQ(words_.Load({0}).generation(), kLives) << "each life ended once, one way or the other";
}

}  // namespace
}  // namespace ebb
