// SPDX-License-Identifier: MIT
#include "hostd/swap/registration.h"

#include <gtest/gtest.h>

#include <vector>

#include "tests/fakes/fake_guest_memory.h"

namespace ebb {
namespace {

constexpr uint64_t kChunk = BytesToPages(16 * kMiB);

class RegistrationTest : public testing::Test {
 protected:
  std::vector<PageRange> Registered() {
    std::vector<PageRange> ranges;
    for (const auto& call : memory_.Calls(GuestOp::kRegister)) ranges.push_back(call.range);
    return ranges;
  }

  // Two and a half chunks, in two mappings that meet inside the second.
  FakeGuestMemory memory_{{kChunk + 100, kChunk + kChunk / 2 - 100}};
  Registration registration_{&memory_};
};

TEST_F(RegistrationTest, NothingIsRegisteredBeforeItIsWanted) {
  EXPECT_TRUE(Registered().empty());
  EXPECT_TRUE(registration_.Ensure({{5}, 0}));
  EXPECT_TRUE(Registered().empty());
}

TEST_F(RegistrationTest, OnePageRegistersItsWholeChunk) {
  EXPECT_TRUE(registration_.Ensure({{7}, 1}));
  EXPECT_EQ(Registered(), (std::vector<PageRange>{{{0}, kChunk}}));
}

TEST_F(RegistrationTest, ChunkThatCrossesMappingsIsRegisteredInParts) {
  EXPECT_TRUE(registration_.Ensure({{kChunk}, 1}));
  EXPECT_EQ(Registered(),
            (std::vector<PageRange>{{{kChunk}, 100}, {{kChunk + 100}, kChunk - 100}}));
}

TEST_F(RegistrationTest, RangeOverTwoChunksRegistersBoth) {
  EXPECT_TRUE(registration_.Ensure({{kChunk - 1}, 2}));
  EXPECT_TRUE(memory_.Look({0}).registered);
  EXPECT_TRUE(memory_.Look({2 * kChunk - 1}).registered);
  EXPECT_FALSE(memory_.Look({2 * kChunk}).registered);
}

TEST_F(RegistrationTest, LastPageOfAChunkDoesNotRegisterTheNext) {
  EXPECT_TRUE(registration_.Ensure({{kChunk - 1}, 1}));
  EXPECT_FALSE(memory_.Look({kChunk}).registered);
}

TEST_F(RegistrationTest, LastChunkEndsWithTheRam) {
  EXPECT_TRUE(registration_.Ensure({{memory_.pages() - 1}, 1}));
  EXPECT_EQ(Registered(), (std::vector<PageRange>{{{2 * kChunk}, kChunk / 2}}));
}

TEST_F(RegistrationTest, SecondTimeCostsNothing) {
  registration_.Ensure({{0}, 10});
  memory_.ForgetCalls();
  EXPECT_TRUE(registration_.Ensure({{3}, 100}));
  EXPECT_TRUE(Registered().empty());
}

TEST_F(RegistrationTest, EnsureAllRegistersEveryPage) {
  EXPECT_TRUE(registration_.EnsureAll());
  for (uint64_t page = 0; page < memory_.pages(); ++page) {
    ASSERT_TRUE(memory_.Look({page}).registered) << page;
  }
}

TEST_F(RegistrationTest, RefusedChunkIsNotTakenForRegisteredAndIsTriedAgain) {
  memory_.FailNext(GuestOp::kRegister, OsResult::kRetry);
  EXPECT_FALSE(registration_.Ensure({{0}, 1}));
  EXPECT_TRUE(registration_.Ensure({{0}, 1}));
  EXPECT_TRUE(memory_.Look({0}).registered);
}

TEST_F(RegistrationTest, ChunkThatFailedHalfWayIsTriedAgainAsAWhole) {
  memory_.BeforeNext(GuestOp::kRegister, [] {});
  memory_.AfterNext(GuestOp::kRegister,
                    [&] { memory_.FailNext(GuestOp::kRegister, OsResult::kNoMemory); });
  EXPECT_FALSE(registration_.Ensure({{kChunk}, 1}));
  EXPECT_TRUE(registration_.Ensure({{kChunk}, 1}));
  EXPECT_TRUE(memory_.Look({kChunk}).registered);
  EXPECT_TRUE(memory_.Look({kChunk + 100}).registered);
}

// A VM must not leave its limit unseen through RAM behind a part that QEMU has unmapped.
TEST_F(RegistrationTest, RefusedChunkDoesNotKeepTheOthersUnregistered) {
  memory_.FailNext(GuestOp::kRegister, OsResult::kNotMapped);
  EXPECT_FALSE(registration_.EnsureAll());
  EXPECT_FALSE(memory_.Look({0}).registered);
  EXPECT_TRUE(memory_.Look({kChunk}).registered);
  EXPECT_TRUE(memory_.Look({2 * kChunk}).registered);
}

TEST_F(RegistrationTest, UnregisterAllLetsGoOfWhatIsRegisteredOnly) {
  registration_.Ensure({{kChunk}, 1});
  EXPECT_TRUE(registration_.UnregisterAll());
  EXPECT_FALSE(memory_.Look({kChunk}).registered);
  EXPECT_EQ(memory_.Calls(GuestOp::kUnregister).size(), 2u) << "one chunk, in two mappings";
  memory_.ForgetCalls();
  EXPECT_TRUE(registration_.UnregisterAll());
  EXPECT_TRUE(memory_.Calls(GuestOp::kUnregister).empty());
}

TEST_F(RegistrationTest, RefusedUnregisterIsTriedAgain) {
  registration_.EnsureAll();
  memory_.FailNext(GuestOp::kUnregister, OsResult::kRetry);
  EXPECT_FALSE(registration_.UnregisterAll());
  EXPECT_TRUE(registration_.UnregisterAll());
  for (const uint64_t page : {uint64_t{0}, kChunk, 2 * kChunk}) {
    EXPECT_FALSE(memory_.Look({page}).registered);
  }
}

TEST_F(RegistrationTest, QemuThatIsGoneOrHasUnmappedItCountsAsUnregistered) {
  registration_.EnsureAll();
  memory_.FailNext(GuestOp::kUnregister, OsResult::kNotMapped);
  memory_.FailNext(GuestOp::kUnregister, OsResult::kGone);
  EXPECT_TRUE(registration_.UnregisterAll());
}

// ---- Unplugged RAM ------------------------------------------------------------------------------

constexpr PageRange kSecondMapping = {{kChunk + 100}, kChunk + kChunk / 2 - 100};

// Whatever lies there now must not raise messages: they would be answered with what lay there.
TEST_F(RegistrationTest, WhatLiesWhereRamWasUnpluggedIsNotRegistered) {
  memory_.Unplug(kSecondMapping);
  EXPECT_FALSE(registration_.Ensure({{2 * kChunk}, 1}));
  EXPECT_FALSE(memory_.Look({2 * kChunk}).registered);
  memory_.ForgetCalls();
  EXPECT_FALSE(registration_.Ensure({{2 * kChunk}, 1}));
  EXPECT_TRUE(Registered().empty()) << "it never comes back";
}

TEST_F(RegistrationTest, UnplugIsSeenHoweverLateItCame) {
  memory_.AfterNext(GuestOp::kRegister, [&] { memory_.Unplug(kSecondMapping); });
  EXPECT_FALSE(registration_.Ensure({{2 * kChunk}, 1}));
  EXPECT_FALSE(memory_.Look({2 * kChunk}).registered);
}

TEST_F(RegistrationTest, WhereNothingLiesNowIsNotTriedForEver) {
  memory_.Unplug(kSecondMapping);
  memory_.FailNext(GuestOp::kRegister, OsResult::kNotMapped);
  EXPECT_FALSE(registration_.Ensure({{2 * kChunk}, 1}));
  memory_.ForgetCalls();
  EXPECT_FALSE(registration_.Ensure({{2 * kChunk}, 1}));
  EXPECT_TRUE(memory_.Calls(GuestOp::kRegister).empty());
}

TEST_F(RegistrationTest, UnpluggedRamDoesNotKeepTheRestUnregistered) {
  memory_.Unplug(kSecondMapping);
  EXPECT_FALSE(registration_.EnsureAll());
  EXPECT_TRUE(memory_.Look({0}).registered);
  EXPECT_FALSE(memory_.Look({kChunk}).registered) << "its chunk has a part that is gone";
  EXPECT_FALSE(memory_.Look({kChunk + 100}).registered);
}

TEST_F(RegistrationTest, NothingStaysRegisteredWhereItCannotBeSeen) {
  memory_.FailNext(GuestOp::kFindUnmapped, OsResult::kFailed);
  EXPECT_FALSE(registration_.Ensure({{0}, 1}));
  EXPECT_FALSE(memory_.Look({0}).registered);
  EXPECT_TRUE(registration_.Ensure({{0}, 1})) << "it is tried again";
}

TEST_F(RegistrationTest, MapIsLookedAtOnceForAllThatIsNew) {
  EXPECT_TRUE(registration_.EnsureAll());
  EXPECT_TRUE(registration_.EnsureAll());
  EXPECT_EQ(memory_.Calls(GuestOp::kFindUnmapped).size(), 1u);
}

TEST_F(RegistrationTest, HalfAChunkDoesNotStayRegistered) {
  memory_.AfterNext(GuestOp::kRegister,
                    [&] { memory_.FailNext(GuestOp::kRegister, OsResult::kNotMapped); });
  EXPECT_FALSE(registration_.Ensure({{kChunk}, 1}));
  EXPECT_FALSE(memory_.Look({kChunk}).registered);
}

TEST_F(RegistrationTest, UnregisteredChunkCanBeRegisteredAgain) {
  registration_.EnsureAll();
  registration_.UnregisterAll();
  EXPECT_TRUE(registration_.Ensure({{0}, 1}));
  EXPECT_TRUE(memory_.Look({0}).registered);
}

}  // namespace
}  // namespace ebb
