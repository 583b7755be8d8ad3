// SPDX-License-Identifier: MIT
#include "hostd/swap/fault.h"

#include <gtest/gtest.h>

#include <string>
#include <tuple>

#include "hostd/swap/discard.h"
#include "tests/hostd/swap/swap_fixture.h"

namespace ebb {
namespace {

using Kind = FaultMessage::Kind;
constexpr Kind kMissing = Kind::kMissing;
constexpr Kind kWriteProtect = Kind::kWriteProtect;

// How the page lies in guest RAM, whatever its word says: messages go stale.
enum class Situation { kHole, kUnmapped, kMapped, kProtected };

class FaultTest : public SwapTest {
 protected:
  void Arrange(uint64_t page, Situation situation) {
    if (situation == Situation::kHole) memory_.Punch({{page}, 1});
    if (situation == Situation::kUnmapped) memory_.ZapPtes({{page}, 1});
    if (situation == Situation::kProtected) memory_.WriteProtect({{page}, 1});
  }
};

// ---- Resident, Cooling, Guarded, SwappingOut: every state x kind x situation --------------------

class FaultInRamTest : public FaultTest,
                       public testing::WithParamInterface<std::tuple<PageState, Kind, Situation>> {
 protected:
  void MoveTo(uint64_t page, PageState state) {
    if (state == PageState::kCooling) Claim(page, {PageState::kCooling});
    if (state == PageState::kGuarded) Claim(page, {PageState::kCooling, PageState::kGuarded});
    if (state == PageState::kSwappingOut) {
      Claim(page, {PageState::kCooling, PageState::kGuarded, PageState::kSwappingOut});
    }
  }
};

TEST_P(FaultInRamTest, EndsResidentAndServesReadersAndWriters) {
  const auto [state, kind, situation] = GetParam();
  memory_.WatchWords(nullptr);  // Arrange punches where it may not
  MoveTo(3, state);
  Arrange(3, situation);
  memory_.WatchWords(&state_->words());
  const PageContent expected = memory_.Content({3});
  const uint32_t generation = Word(3).generation();
  const auto reader = StartRead(3);
  const auto writer = StartWrite(3);
  ReadMessages();

  EXPECT_EQ(Handle(3, kind), PageOutcome::kServed);
  EXPECT_EQ(StateOf(3), PageState::kResident);
  EXPECT_NE(Word(3).generation(), generation) << "a swap-out under way would not notice";
  ServeAll();  // a message whose kind was wrong costs a second one
  EXPECT_FALSE(memory_.Blocked(writer));
  ASSERT_FALSE(memory_.Blocked(reader));
  const PageContent seen = memory_.ContentRead(reader);
  EXPECT_TRUE(seen == expected || seen == Written(expected));
  EXPECT_EQ(memory_.Content({3}), Written(expected));
}

std::string NameOf(const testing::TestParamInfo<FaultInRamTest::ParamType>& test) {
  const auto [state, kind, situation] = test.param;
  constexpr const char* kSituations[] = {"Hole", "Unmapped", "Mapped", "Protected"};
  return std::string(PageStateName(state)) + (kind == kMissing ? "Missing" : "WriteProtect") +
         kSituations[static_cast<size_t>(situation)];
}

INSTANTIATE_TEST_SUITE_P(
    All, FaultInRamTest,
    testing::Combine(testing::Values(PageState::kResident, PageState::kCooling, PageState::kGuarded,
                                     PageState::kSwappingOut),
                     testing::Values(kMissing, kWriteProtect),
                     testing::Values(Situation::kHole, Situation::kUnmapped, Situation::kMapped,
                                     Situation::kProtected)),
    NameOf);

TEST_F(FaultTest, FaultInRamAbortsTheSwapOutUnderWay) {
  const StoredPage stored = Store(3);
  Handle(3, kWriteProtect);
  EXPECT_FALSE(state_->words().TryMove({3}, stored.claim.word, PageState::kDropping, stored.id));
  RetireRecord(state_, stored.id);
  Count(state_->stats().swapped_pages);  // never counted: it was not dropped
}

TEST_F(FaultTest, PageIsOpenedOnlyInFixing) {
  Guard(3);
  memory_.BeforeNext(GuestOp::kUnprotect, [&] { EXPECT_EQ(StateOf(3), PageState::kFixing); });
  memory_.AfterNext(GuestOp::kUnprotect, [&] { EXPECT_EQ(StateOf(3), PageState::kFixing); });
  Handle(3, kWriteProtect);
}

TEST_F(FaultTest, FirstTouchGetsAZeroPageAndIsCounted) {
  memory_.Discard({{3}, 1});
  ReadMessages();
  ExpectGuestReads(3, PageContent{});
  EXPECT_EQ(state_->stats().zero_filled, 1u);
}

TEST_F(FaultTest, MissingMessageNeverZeroesAPageThatIsThere) {
  Guard(3);
  EXPECT_EQ(Handle(3, kMissing), PageOutcome::kServed);
  EXPECT_EQ(memory_.Content({3}), ContentOf(3));
  EXPECT_EQ(state_->stats().zero_filled, 0u);
}

// ---- Swapped and Lost ---------------------------------------------------------------------------

TEST_F(FaultTest, SwappedPageComesBackWhateverTheMessageSays) {
  for (const Kind kind : {kMissing, kWriteProtect}) {
    const uint64_t page = kind == kMissing ? 3 : 4;
    SwapOut(page);
    const auto thread = StartWrite(page);
    ReadMessages();
    EXPECT_EQ(Handle(page, kind), PageOutcome::kServed);
    EXPECT_FALSE(memory_.Blocked(thread));
    EXPECT_EQ(memory_.Content({page}), Written(ContentOf(page)));
    EXPECT_EQ(state_->stats().zero_filled, 0u);
  }
}

TEST_F(FaultTest, DuplicateMessageOfAPageThatIsBackChangesNothing) {
  SwapOut(3);
  const auto thread = StartWrite(3);
  ReadMessages();
  memory_.Interrupt(thread);  // a signal: the same fault a second time
  ServeAll();
  EXPECT_FALSE(memory_.Blocked(thread));
  for (const Kind kind : {kMissing, kWriteProtect}) {
    EXPECT_EQ(Handle(3, kind), PageOutcome::kServed);
    EXPECT_EQ(memory_.Content({3}), Written(ContentOf(3)));
  }
}

TEST_F(FaultTest, LostPageIsTriedAgain) {
  const PageWord lost = Lose(3);
  const auto thread = StartRead(3);
  ReadMessages();
  EXPECT_EQ(Handle(3, kMissing), PageOutcome::kLost);
  EXPECT_TRUE(memory_.Blocked(thread));
  FlipStoredByte(lost.swap_id());
  EXPECT_EQ(Handle(3, kMissing), PageOutcome::kServed);
  EXPECT_EQ(memory_.ContentRead(thread), ContentOf(3));
}

TEST_F(FaultTest, PageThatChangesUnderTheHandlerIsLookedAtAgain) {
  // Between the handler's look and its move another thread brings the page back.
  SwapOut(3);
  memory_.BeforeNext(GuestOp::kFill, [&] { EXPECT_EQ(StateOf(3), PageState::kSwappingIn); });
  const auto thread = StartRead(3);
  ReadMessages();
  EXPECT_EQ(SwapIn(&memory_, state_).Run({3}, Word(3)), PageOutcome::kServed);
  EXPECT_EQ(Handle(3, kMissing), PageOutcome::kServed);
  EXPECT_EQ(memory_.ContentRead(thread), ContentOf(3));
}

// ---- Owned pages --------------------------------------------------------------------------------

class FaultOnOwnedTest : public FaultTest,
                         public testing::WithParamInterface<std::tuple<PageState, Kind>> {};

TEST_P(FaultOnOwnedTest, LeavesTheWaiterBitAndTouchesNothing) {
  expect_at_rest_ = false;
  const auto [state, kind] = GetParam();
  if (state == PageState::kDropping) {
    OwnDropping(3);
  } else if (state == PageState::kSwappingIn) {
    OwnSwappingIn(3);
  } else {
    Claim(3, {PageState::kFixing});
  }
  const PageWord before = Word(3);
  memory_.ForgetCalls();
  EXPECT_EQ(Handle(3, kind), PageOutcome::kServed);
  EXPECT_EQ(Word(3), before.WithWaiter());
  for (const GuestOp op :
       {GuestOp::kUnprotect, GuestOp::kFill, GuestOp::kFillZero, GuestOp::kWake, GuestOp::kPunch}) {
    EXPECT_TRUE(memory_.Calls(op).empty()) << GuestOpName(op);
  }
}

INSTANTIATE_TEST_SUITE_P(All, FaultOnOwnedTest,
                         testing::Combine(testing::Values(PageState::kDropping,
                                                          PageState::kSwappingIn,
                                                          PageState::kFixing),
                                          testing::Values(kMissing, kWriteProtect)),
                         [](const auto& test) {
                           return std::string(PageStateName(std::get<0>(test.param))) +
                                  (std::get<1>(test.param) == kMissing ? "Missing"
                                                                       : "WriteProtect");
                         });

// ---- What the kernel may answer -----------------------------------------------------------------

class FaultAnswerTest : public FaultTest,
                        public testing::WithParamInterface<std::pair<OsResult, PageOutcome>> {};

TEST_P(FaultAnswerTest, OutcomeFollowsTheKernelAndThePageIsServedLater) {
  const auto [result, outcome] = GetParam();
  memory_.Discard({{3}, 1});
  ReadMessages();
  const auto thread = StartRead(3);
  ReadMessages();
  memory_.FailNext(GuestOp::kFillZero, result);
  EXPECT_EQ(Handle(3, kMissing), outcome);
  EXPECT_TRUE(memory_.Blocked(thread));
  EXPECT_EQ(StateOf(3), PageState::kResident) << "no page stays in Fixing";
  EXPECT_EQ(Handle(3, kMissing), PageOutcome::kServed);
  EXPECT_FALSE(memory_.Blocked(thread));
}

INSTANTIATE_TEST_SUITE_P(All, FaultAnswerTest,
                         testing::Values(std::pair(OsResult::kRetry, PageOutcome::kRetry),
                                         std::pair(OsResult::kNoMemory, PageOutcome::kNoMemory),
                                         std::pair(OsResult::kNotMapped, PageOutcome::kNotMapped),
                                         std::pair(OsResult::kFailed, PageOutcome::kFailed),
                                         std::pair(OsResult::kGone, PageOutcome::kGone)),
                         [](const auto& test) {
                           std::string name = OsResultName(test.param.first);
                           std::erase(name, ' ');
                           return name;
                         });

TEST_F(FaultTest, WriteIsRetriedWhileTheMemoryMapChanges) {
  Guard(3);
  const auto thread = StartWrite(3);
  ReadMessages();
  memory_.Discard({{20}, 1});
  EXPECT_EQ(Handle(3, kWriteProtect), PageOutcome::kRetry);
  EXPECT_TRUE(memory_.Blocked(thread));
  ReadMessages();
  EXPECT_EQ(Handle(3, kWriteProtect), PageOutcome::kServed);
  EXPECT_FALSE(memory_.Blocked(thread));
}

// ---- FillAhead ----------------------------------------------------------------------------------

class FillAheadTest : public FaultTest {
 protected:
  void SetUp() override {
    FaultTest::SetUp();
    memory_.Discard({{10}, 20});
    ReadMessages();
  }
  // The pages from 10 on that are no longer holes.
  uint64_t Filled() {
    uint64_t filled = 0;
    for (uint64_t page = 10; page < 30; ++page) filled += memory_.Look({page}).hole ? 0u : 1u;
    return filled;
  }
};

TEST_F(FillAheadTest, HolesBehindATouchGetZeroPages) {
  handler_->FillAhead({9}, 15);
  EXPECT_EQ(Filled(), 15u);
  EXPECT_TRUE(memory_.Look({25}).hole);
  EXPECT_EQ(state_->stats().zero_filled, 15u);
  for (uint64_t page = 10; page < 25; ++page) EXPECT_EQ(StateOf(page), PageState::kResident);
}

TEST_F(FillAheadTest, StopsAtAPageThatIsThere) {
  memory_.Populate({14}, ContentOf(14));
  handler_->FillAhead({9}, 15);
  EXPECT_EQ(Filled(), 5u);
  EXPECT_EQ(memory_.Content({14}), ContentOf(14));
  EXPECT_TRUE(memory_.Look({15}).hole);
  EXPECT_EQ(state_->stats().zero_filled, 4u);
}

TEST_F(FillAheadTest, StopsAtASwappedPage) {
  ASSERT_EQ(StateOf(14), PageState::kResident);
  memory_.Populate({14}, ContentOf(14));
  SwapOut(14);
  handler_->FillAhead({9}, 15);
  EXPECT_EQ(Filled(), 4u);
  EXPECT_EQ(StateOf(14), PageState::kSwapped);
  ExpectGuestReads(14, ContentOf(14));
}

TEST_F(FillAheadTest, StopsAtAPageThatIsOnItsWayOut) {
  memory_.Populate({14}, ContentOf(14));
  for (const PageState to :
       {PageState::kCooling, PageState::kGuarded, PageState::kSwappingOut, PageState::kFixing}) {
    const ClaimedPage claim = Claim(14, {to});
    handler_->FillAhead({13}, 15);
    EXPECT_EQ(Word(14), claim.word) << PageStateName(to);
  }
  Leave(14, PageState::kResident);
  EXPECT_EQ(state_->stats().zero_filled, 0u);
}

TEST_F(FillAheadTest, StopsAtTheEndOfTheRam) {
  memory_.Discard({{kPages - 3}, 3});
  ReadMessages();
  handler_->FillAhead({kPages - 4}, 15);
  EXPECT_EQ(state_->stats().zero_filled, 3u);
  handler_->FillAhead({kPages - 1}, 15);
  EXPECT_EQ(state_->stats().zero_filled, 3u);
}

TEST_F(FillAheadTest, WaiterOfAPageThatIsBeingFilledAheadIsServed) {
  FakeGuestMemory::ThreadId thread = 0;
  memory_.FailNext(GuestOp::kFillZero, OsResult::kRetry);
  memory_.BeforeNext(GuestOp::kFillZero, [&] {
    thread = StartRead(12);
    ReadMessages();
    EXPECT_EQ(Handle(12, kMissing), PageOutcome::kServed);
  });
  handler_->FillAhead({9}, 15);
  ServeAll();
  EXPECT_FALSE(memory_.Blocked(thread));
}

TEST(FillAheadMappings, StaysInTheMappingOfItsPage) {
  FakeGuestMemory memory({8, 8});
  const auto state = SharedSwapState::Create(16);
  ASSERT_TRUE(state.ok());
  memory.Register({{0}, 8});
  memory.Register({{8}, 8});
  FaultHandler(&memory, &(*state)->state()).FillAhead({5}, 15);
  EXPECT_FALSE(memory.Look({7}).hole);
  EXPECT_TRUE(memory.Look({8}).hole);
}

}  // namespace
}  // namespace ebb
