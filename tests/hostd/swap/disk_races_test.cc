// SPDX-License-Identifier: MIT
// Swap-ins on a thread of their own, held up where the reclaim thread moves or frees what they
// read.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "hostd/base/test_points.h"
#include "hostd/base/wait_checks.h"
#include "hostd/swap/discard.h"
#include "hostd/swap/drop.h"
#include "hostd/swap/store_pages.h"
#include "hostd/swap/swap_in.h"
#include "hostd/swap/swap_state.h"
#include "hostd/swap/writeback.h"
#include "hostd/vm/mover.h"
#include "tests/fakes/fake_guest_memory.h"
#include "tests/fakes/instant_disk.h"
#include "tests/fakes/page_content.h"
#include "tests/hostd/swap/stored_page.h"
#include "tests/hostd/swap/vm_pages.h"
#include "tests/hostd/tiers/pool/fake_pool_memory.h"
#include "tests/synthetic/random.h"

namespace ebb {
namespace {

constexpr std::chrono::seconds kMostWait{20};

// One thread comes to a place and stays there until another lets it go.
class Meeting {
 public:
  // Only the first time, and for so long at most.
  void Stay() {
    if (came_.exchange(true)) return;
    arrived_.set_value();
    EXPECT_EQ(go_.get_future().wait_for(kMostWait), std::future_status::ready);
  }
  void AwaitArrival() {
    ASSERT_EQ(arrived_.get_future().wait_for(kMostWait), std::future_status::ready);
  }
  void LetGo() { go_.set_value(); }

 private:
  std::atomic<bool> came_{false};
  std::promise<void> arrived_;
  std::promise<void> go_;
};

// A thread that asks where the pool is can be held up: a swap-in asks between its look at the
// record and its look at the object.
class SlowPoolMemory : public FakePoolMemory {
 public:
  using FakePoolMemory::FakePoolMemory;
  std::byte* data() const override {
    if (held_up != nullptr) {
      const AnotherThreadsWork of_the_test;
      std::exchange(held_up, nullptr)->Stay();
    }
    return FakePoolMemory::data();
  }
  static thread_local Meeting* held_up;
};
thread_local Meeting* SlowPoolMemory::held_up = nullptr;

class DiskRacesTest : public testing::Test {
 protected:
  static constexpr uint64_t kPages = 256;
  static constexpr uint32_t kRecords = 2 * kPages;
  static constexpr uint64_t kAll = UINT64_MAX / 2;

  void SetUp() override {
    memory_.Register({{0}, kPages});
    memory_.WatchWords(&state_.words());
  }
  void TearDown() override {
    SetTestPoint("writeback.ended", {});
    SetTestPoint("swap_in.read_ended", {});
    for (const std::string& violation : memory_.Violations()) ADD_FAILURE() << violation;
  }

  static PageContent ContentOf(uint64_t page) { return PartlyRandomContent(page, 300); }
  static PageContent LaterContentOf(uint64_t page) { return PartlyRandomContent(~page, 400); }

  std::unique_ptr<DiskQueue> OpenReads() {
    return *tier_.OpenQueue(DiskReads::kMaxReads, kDiskBlockBytes);
  }
  void SwapOut(uint64_t page, const PageContent& content) {
    memory_.Populate({page}, content);
    const StoredPage stored = StorePage(&memory_, &state_, {page});
    ASSERT_EQ(DropPages(&memory_, &state_, {&stored, 1}), 1u);
  }
  void SwapOutFirst(uint64_t pages) {
    for (uint64_t page = 0; page < pages; ++page) SwapOut(page, ContentOf(page));
  }
  void WriteBackAll() {
    while (writeback_.Run(kAll, kNsPerS)) {
    }
  }
  void Settle() {
    state_.ReapRetired();
    for (int pass = 0; pass < 5; ++pass) state_.Compact();
  }
  SwapLocation LocationOf(uint64_t page) {
    return state_.table().Load(state_.words().Load({page}).swap_id()).location;
  }
  static PageOutcome Bring(SwapIn* swap_in, SwapState* state, uint64_t page) {
    const PageOutcome outcome = swap_in->Run({page}, state->words().Load({page}));
    if (outcome != PageOutcome::kReading) return outcome;
    const auto read = swap_in->NextRead(false);
    return read ? read->outcome : PageOutcome::kReading;
  }
  void ExpectComesBack(uint64_t page, const PageContent& content) {
    ASSERT_EQ(Bring(swap_in_.get(), &state_, page), PageOutcome::kServed) << page;
    ASSERT_EQ(memory_.Content({page}), content) << page;
  }
  void ExpectNothingStored() {
    Settle();
    EXPECT_EQ(state_.pool().stats().objects, 0u);
    EXPECT_EQ(state_.disk()->blocks().used_blocks(), 0u);
    EXPECT_EQ(state_.stats().disk_pages, 0u);
    EXPECT_EQ(state_.stats().swapped_pages, 0u);
  }

  DiskTier tier_{"a disk of the test", std::make_unique<InstantDisk>(16 * kMiB)};
  FakeGuestMemory memory_{kPages};
  std::vector<std::byte> words_{PageWords::BytesFor(kPages)};
  std::vector<std::byte> records_{SwapDescTable::BytesFor(kRecords)};
  SlowPoolMemory pool_{8 * kMiB};
  SwapState state_{
      {words_.data(), records_.data(), &pool_}, kPages, kRecords, *DiskShare::Create(&tier_)};
  Writeback writeback_{&state_};
  std::unique_ptr<SwapIn> swap_in_ = std::make_unique<SwapIn>(&memory_, &state_, OpenReads());
};

TEST_F(DiskRacesTest, FaultsAndDiscardsBetweenTheEndOfAWriteAndTheChangeOfItsRecord) {
  constexpr uint64_t kOut = 96;
  SwapOutFirst(kOut);
  Meeting meeting;
  SetTestPoint("writeback.ended", [&] { meeting.Stay(); });
  std::thread reclaim([this] { WriteBackAll(); });
  meeting.AwaitArrival();
  // Whatever they find in the record is right: the object is in the pool and on the disk.
  for (uint64_t page = 0; page < kOut; page += 3) ExpectComesBack(page, ContentOf(page));
  for (uint64_t page = 1; page < kOut; page += 3) {
    DiscardPages(&memory_, &state_, {{page}, 1});
  }
  meeting.LetGo();
  reclaim.join();
  EXPECT_GT(state_.stats().disk_pages, 0u);
  Settle();
  for (uint64_t page = 2; page < kOut; page += 3) {
    EXPECT_EQ(LocationOf(page).tier(), TierKind::kDisk) << page;
    ExpectComesBack(page, ContentOf(page));
  }
  ExpectNothingStored();
}

TEST_F(DiskRacesTest, ObjectThatLeavesThePoolWhileItIsReadStaysWhereItWasUntilThen) {
  constexpr uint64_t kOut = 64;
  SwapOutFirst(kOut);
  Meeting meeting;
  std::atomic<PageOutcome> outcome{PageOutcome::kFailed};
  std::thread fault([&] {
    SlowPoolMemory::held_up = &meeting;
    outcome = Bring(swap_in_.get(), &state_, 5);
  });
  meeting.AwaitArrival();
  // It has looked at the record. The page is owned: it is not written back, but all its neighbours
  // are, and their spans freed and used again.
  WriteBackAll();
  EXPECT_EQ(state_.stats().disk_pages, kOut - 1);
  Settle();
  for (uint64_t page = 100; page < 150; ++page) SwapOut(page, ContentOf(page));
  meeting.LetGo();
  fault.join();
  EXPECT_EQ(outcome, PageOutcome::kServed);
  EXPECT_EQ(memory_.Content({5}), ContentOf(5));
}

// The write was under way when the fault looked at the record.
TEST_F(DiskRacesTest, RecordThatChangesAfterAFaultHasReadItIsStillReadInThePool) {
  constexpr uint64_t kOut = 64;
  SwapOutFirst(kOut);
  ASSERT_TRUE(writeback_.Run(kAll, kNsPerS));  // started, and not seen to
  Meeting meeting;
  std::atomic<PageOutcome> outcome{PageOutcome::kFailed};
  std::thread fault([&] {
    SlowPoolMemory::held_up = &meeting;
    outcome = Bring(swap_in_.get(), &state_, 5);
  });
  meeting.AwaitArrival();
  WriteBackAll();
  EXPECT_EQ(LocationOf(5).tier(), TierKind::kDisk);
  const uint64_t objects = state_.pool().stats().objects;
  Settle();
  EXPECT_EQ(state_.pool().stats().objects, objects) << "somebody reads there";
  for (uint64_t page = 100; page < 150; ++page) SwapOut(page, ContentOf(page));
  meeting.LetGo();
  fault.join();
  EXPECT_EQ(outcome, PageOutcome::kServed);
  EXPECT_EQ(memory_.Content({5}), ContentOf(5));
  for (uint64_t page = 0; page < kOut; ++page) {
    if (page != 5) ExpectComesBack(page, ContentOf(page));
  }
  for (uint64_t page = 100; page < 150; ++page) ExpectComesBack(page, ContentOf(page));
  ExpectNothingStored();
}

// What it has of them in its hands is from an earlier life of theirs.
TEST_F(DiskRacesTest, NeighboursInABlockThatWereSwappedOutAnewAreNotReadAhead) {
  constexpr uint64_t kOut = 64;
  SwapOutFirst(kOut);
  WriteBackAll();
  Meeting meeting;
  SetTestPoint("swap_in.read_ended", [&] { meeting.Stay(); });
  uint64_t read_ahead = UINT64_MAX;
  std::thread fault([&] {
    ASSERT_EQ(swap_in_->Run({5}, state_.words().Load({5})), PageOutcome::kReading);
    const auto read = swap_in_->NextRead(/*read_ahead=*/true);
    ASSERT_TRUE(read);
    EXPECT_EQ(read->outcome, PageOutcome::kServed);
    read_ahead = read->read_ahead_pages;
  });
  meeting.AwaitArrival();
  SwapIn other(&memory_, &state_, OpenReads());
  for (uint64_t page = 0; page < kOut; ++page) {
    if (page == 5) continue;
    ASSERT_EQ(Bring(&other, &state_, page), PageOutcome::kServed) << page;
    state_.ReapRetired();
    SwapOut(page, LaterContentOf(page));
  }
  WriteBackAll();  // some of it where it was before
  meeting.LetGo();
  fault.join();
  EXPECT_EQ(read_ahead, 0u);
  EXPECT_EQ(memory_.Content({5}), ContentOf(5));
  for (uint64_t page = 0; page < kOut; ++page) {
    if (page != 5) ExpectComesBack(page, LaterContentOf(page));
  }
  ExpectNothingStored();
}

TEST_F(DiskRacesTest, BringBackFromTheDiskEndsWhereThereIsNoMemory) {
  SwapOutFirst(64);
  WriteBackAll();
  Residency residency;
  Mover mover("test", &memory_, &state_, &residency, OpenReads());
  memory_.FailNext(GuestOp::kFill, OsResult::kNoMemory, UINT32_MAX / 1024);
  mover.Start();
  mover.BringBack(UINT64_MAX);
  ASSERT_TRUE(
      WaitUntil([&] { return mover.bring_back_state() != Mover::BringBackState::kRunning; }));
  EXPECT_EQ(mover.bring_back_state(), Mover::BringBackState::kNoMemory);
  mover.Stop();
}

// Two threads swap in and discard while the third one stores, writes back, frees and moves.
TEST_F(DiskRacesTest, ThreadsThatSwapInAndDiscardMeetWriteback) {
  constexpr uint64_t kTouches = 2000;  // of swapped pages, by each
  const auto deadline = std::chrono::steady_clock::now() + 3 * kMostWait;
  std::atomic<int> working{2};
  const auto swap_in_and_discard = [&](uint64_t seed) {
    synthetic::Random random(seed);
    const auto own = std::make_unique<SwapIn>(&memory_, &state_, OpenReads());
    for (uint64_t i = 0; i < kTouches && std::chrono::steady_clock::now() < deadline;) {
      const PageIndex page = {random.Below(kPages)};
      const PageWord word = state_.words().Load(page);
      if (word.state() != PageState::kSwapped) continue;
      ++i;
      if (random.Chance(10)) {
        TryDiscard(&memory_, &state_, page, word);
      } else {
        own->Run(page, word);
      }
      while (const auto read = own->NextRead(random.Chance(50))) {
        EXPECT_NE(read->outcome, PageOutcome::kLost) << read->page.value;
      }
    }
    --working;
  };
  std::thread first(swap_in_and_discard, 1);
  std::thread second(swap_in_and_discard, 2);
  uint64_t stored = 0;
  for (uint64_t page = 0; working > 0; page = (page + 1) % kPages) {
    if (state_.words().Load({page}).state() == PageState::kResident) {
      const PageContent content = memory_.Content({page});
      const bool was_here = content == ContentOf(page) || content == PageContent();
      ASSERT_TRUE(was_here) << page;
      ASSERT_NO_FATAL_FAILURE(SwapOut(page, ContentOf(page)));
      ++stored;
    }
    if (page % 4 != 0) continue;
    writeback_.Run(kAll, kNsPerS);
    state_.ReapRetired();
    state_.Compact();
  }
  first.join();
  second.join();
  EXPECT_EQ(state_.stats().lost_pages, 0u);
  EXPECT_GT(tier_.stats(kNsPerS).reads, 20u);
  EXPECT_GT(stored, kPages);
  WriteBackAll();
  for (uint64_t page = 0; page < kPages; ++page) {
    if (state_.words().Load({page}).state() != PageState::kSwapped) continue;
    ExpectComesBack(page, ContentOf(page));
  }
  ExpectNothingStored();
}

}  // namespace
}  // namespace ebb
