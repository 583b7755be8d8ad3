// SPDX-License-Identifier: MIT
#include "tests/fakes/guest_memory_contract.h"

#include <algorithm>
#include <array>
#include <vector>

#include "hostd/base/clock.h"
#include "tests/fakes/page_content.h"

namespace ebb {

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(GuestMemoryContract);

using FaultKind = FaultMessage::Kind;
constexpr std::byte kOld{0x11};
constexpr std::byte kNew{0x22};

void GuestMemoryContract::SetUp() {
  bench_ = GetParam()();
  ASSERT_NE(bench_, nullptr);
}

void GuestMemoryContract::Populate(PageIndex page, std::byte value) {
  ASSERT_TRUE(bench_->Finishes(bench_->StartWrite(page, value)));
}

void GuestMemoryContract::RegisterAll() {
  ASSERT_EQ(memory().Register({{0}, GuestBench::kPages}), OsResult::kDone);
}

PteState GuestMemoryContract::Pte(PageIndex page) {
  std::array<PteState, 1> state;
  EXPECT_EQ(memory().ReadPtes({page, 1}, state), OsResult::kDone);
  return state[0];
}

void GuestMemoryContract::Zap(PageIndex page) {
  for (int tries = 0; tries < 1000 && Pte(page).present; ++tries) {
    ASSERT_EQ(memory().ZapPtes({page, 1}), OsResult::kDone);
  }
  ASSERT_FALSE(Pte(page).present);
}

std::byte GuestMemoryContract::FirstByte(PageIndex page) {
  PageContent content;
  EXPECT_EQ(memory().Read(page, content.data()), OsResult::kDone);
  return content.front();
}

void GuestMemoryContract::WaitUntilMapChanges(PageIndex page) {
  OsResult result = OsResult::kDone;
  const int64_t end_ns = MonotonicNs() + 20 * kNsPerS;
  while (result == OsResult::kDone && MonotonicNs() < end_ns) {
    result = memory().WriteProtect({page, 1});
  }
  ASSERT_EQ(result, OsResult::kRetry);
}

void GuestMemoryContract::ExpectMessage(FaultKind kind, PageIndex page) {
  const GuestMessage message = bench_->NextMessage();
  EXPECT_EQ(message.kind, kind);
  EXPECT_EQ(message.range, (PageRange{page, 1}));
}

TEST_P(GuestMemoryContract, UnregisteredHoleIsTouchedWithoutAMessage) {
  const size_t thread = bench_->StartRead({3});
  ASSERT_TRUE(bench_->Finishes(thread));
  EXPECT_EQ(bench_->ByteRead(thread), std::byte{0});
  EXPECT_FALSE(IsHole({3}));
}

TEST_P(GuestMemoryContract, RegisteredHoleRaisesMissingUntilItIsFilled) {
  RegisterAll();
  const size_t thread = bench_->StartRead({3});
  ExpectMessage(FaultKind::kMissing, {3});
  EXPECT_EQ(memory().Fill({3}, FilledWith(kNew).data()), OsResult::kDone);
  ASSERT_TRUE(bench_->Finishes(thread));
  EXPECT_EQ(bench_->ByteRead(thread), kNew);
  EXPECT_TRUE(Pte({3}).present);
}

TEST_P(GuestMemoryContract, RegisteringTwiceIsHarmless) {
  RegisterAll();
  RegisterAll();
}

TEST_P(GuestMemoryContract, RegisteringKeepsWhatIsThere) {
  Populate({3}, kOld);
  RegisterAll();
  const size_t thread = bench_->StartRead({3});
  ASSERT_TRUE(bench_->Finishes(thread));
  EXPECT_EQ(bench_->ByteRead(thread), kOld);
}

TEST_P(GuestMemoryContract, ZapKeepsThePageAndCostsNoMessage) {
  Populate({3}, kOld);
  RegisterAll();
  Zap({3});
  EXPECT_FALSE(IsHole({3}));
  const size_t thread = bench_->StartRead({3});
  ASSERT_TRUE(bench_->Finishes(thread));
  EXPECT_EQ(bench_->ByteRead(thread), kOld);
  EXPECT_TRUE(Pte({3}).present) << "touched, as pagemap shows";
}

TEST_P(GuestMemoryContract, ProtectedPageCanBeReadAndItsWriterWaits) {
  Populate({3}, kOld);
  RegisterAll();
  ASSERT_EQ(memory().WriteProtect({{3}, 1}), OsResult::kDone);
  EXPECT_TRUE(Pte({3}).write_protected);
  EXPECT_TRUE(bench_->Finishes(bench_->StartRead({3})));
  const size_t writer = bench_->StartWrite({3}, kNew);
  ExpectMessage(FaultKind::kWriteProtect, {3});
  EXPECT_EQ(FirstByte({3}), kOld);
  EXPECT_EQ(memory().Unprotect({3}), OsResult::kDone);
  ASSERT_TRUE(bench_->Finishes(writer));
  EXPECT_EQ(FirstByte({3}), kNew);
  EXPECT_FALSE(Pte({3}).write_protected);
}

TEST_P(GuestMemoryContract, ProtectionSurvivesAZapAndAReadThatMapsThePageAgain) {
  Populate({3}, kOld);
  RegisterAll();
  ASSERT_EQ(memory().WriteProtect({{3}, 1}), OsResult::kDone);
  Zap({3});
  EXPECT_TRUE(Pte({3}).write_protected);
  ASSERT_TRUE(bench_->Finishes(bench_->StartRead({3})));
  EXPECT_TRUE(Pte({3}).present);
  EXPECT_TRUE(Pte({3}).write_protected);
  const size_t writer = bench_->StartWrite({3}, kNew);
  ExpectMessage(FaultKind::kWriteProtect, {3});
  memory().Unprotect({3});
  EXPECT_TRUE(bench_->Finishes(writer));
}

TEST_P(GuestMemoryContract, ZappedPageCanBeProtectedWithoutMappingIt) {
  Populate({3}, kOld);
  RegisterAll();
  Zap({3});
  ASSERT_EQ(memory().WriteProtect({{3}, 1}), OsResult::kDone);
  EXPECT_FALSE(Pte({3}).present);
  EXPECT_TRUE(Pte({3}).write_protected);
  const size_t writer = bench_->StartWrite({3}, kNew);
  ExpectMessage(FaultKind::kWriteProtect, {3});
  memory().Unprotect({3});
  EXPECT_TRUE(bench_->Finishes(writer));
}

TEST_P(GuestMemoryContract, PunchMakesAHoleKeepsTheMarkerAndRaisesMissingEvenForAWrite) {
  Populate({3}, kOld);
  RegisterAll();
  memory().WriteProtect({{3}, 1});
  ASSERT_EQ(memory().Punch({{3}, 1}), OsResult::kDone);
  EXPECT_TRUE(IsHole({3}));
  EXPECT_FALSE(Pte({3}).present);
  EXPECT_TRUE(Pte({3}).write_protected);
  const size_t writer = bench_->StartWrite({3}, kNew);
  ExpectMessage(FaultKind::kMissing, {3});
  memory().Fill({3}, FilledWith(kOld).data());
  EXPECT_TRUE(bench_->Finishes(writer));
}

TEST_P(GuestMemoryContract, FillClearsTheMarker) {
  Populate({3}, kOld);
  RegisterAll();
  memory().WriteProtect({{3}, 1});
  memory().Punch({{3}, 1});
  ASSERT_EQ(memory().Fill({3}, FilledWith(kOld).data()), OsResult::kDone);
  EXPECT_FALSE(Pte({3}).write_protected);
  EXPECT_TRUE(bench_->Finishes(bench_->StartWrite({3}, kNew)));
}

TEST_P(GuestMemoryContract, FillZeroClearsTheMarker) {
  Populate({3}, kOld);
  RegisterAll();
  memory().WriteProtect({{3}, 1});
  memory().Punch({{3}, 1});
  uint64_t filled = 0;
  ASSERT_EQ(memory().FillZero({{3}, 1}, &filled), OsResult::kDone);
  EXPECT_EQ(filled, 1u);
  EXPECT_FALSE(Pte({3}).write_protected);
  EXPECT_TRUE(bench_->Finishes(bench_->StartWrite({3}, kNew)));
}

TEST_P(GuestMemoryContract, PunchWakesNobodyAndAWakeMakesTheWriterFaultAnew) {
  Populate({3}, kOld);
  RegisterAll();
  memory().WriteProtect({{3}, 1});
  const size_t writer = bench_->StartWrite({3}, kNew);
  ExpectMessage(FaultKind::kWriteProtect, {3});
  ASSERT_EQ(memory().Punch({{3}, 1}), OsResult::kDone);
  EXPECT_TRUE(bench_->StaysBlocked(writer));
  ASSERT_EQ(memory().Wake({{3}, 1}), OsResult::kDone);
  ExpectMessage(FaultKind::kMissing, {3});
  memory().Fill({3}, FilledWith(kOld).data());
  EXPECT_TRUE(bench_->Finishes(writer));
}

TEST_P(GuestMemoryContract, FillOfAPageThatIsThereChangesNothingAndWakesNobody) {
  Populate({3}, kOld);
  RegisterAll();
  memory().WriteProtect({{3}, 1});
  const size_t writer = bench_->StartWrite({3}, kNew);
  ExpectMessage(FaultKind::kWriteProtect, {3});
  EXPECT_EQ(memory().Fill({3}, FilledWith(std::byte{0x99}).data()), OsResult::kExists);
  EXPECT_TRUE(bench_->StaysBlocked(writer));
  EXPECT_EQ(FirstByte({3}), kOld);
  EXPECT_EQ(memory().Unprotect({3}), OsResult::kDone);
  EXPECT_TRUE(bench_->Finishes(writer));
}

TEST_P(GuestMemoryContract, FillOfAnUnmappedPageThatIsThereExistsToo) {
  Populate({3}, kOld);
  RegisterAll();
  Zap({3});
  EXPECT_EQ(memory().Fill({3}, FilledWith(kNew).data()), OsResult::kExists);
  EXPECT_EQ(FirstByte({3}), kOld);
}

TEST_P(GuestMemoryContract, FillZeroStopsAtTheFirstPageThatIsThere) {
  Populate({5}, kOld);
  RegisterAll();
  uint64_t filled = 0;
  EXPECT_EQ(memory().FillZero({{2}, 8}, &filled), OsResult::kExists);
  EXPECT_EQ(filled, 3u);
  EXPECT_FALSE(IsHole({4}));
  EXPECT_EQ(FirstByte({5}), kOld);
  EXPECT_TRUE(IsHole({6}));
  filled = 7;
  EXPECT_EQ(memory().FillZero({{5}, 1}, &filled), OsResult::kExists);
  EXPECT_EQ(filled, 0u);
}

TEST_P(GuestMemoryContract, FillZeroWakesWhoWaitsForAnyOfItsPages) {
  RegisterAll();
  const size_t thread = bench_->StartRead({6});
  ExpectMessage(FaultKind::kMissing, {6});
  uint64_t filled = 0;
  EXPECT_EQ(memory().FillZero({{4}, 4}, &filled), OsResult::kDone);
  EXPECT_EQ(filled, 4u);
  ASSERT_TRUE(bench_->Finishes(thread));
  EXPECT_EQ(bench_->ByteRead(thread), std::byte{0});
}

TEST_P(GuestMemoryContract, UnprotectOfAHoleWakesItsWaiterToFaultAnew) {
  RegisterAll();
  const size_t thread = bench_->StartRead({3});
  ExpectMessage(FaultKind::kMissing, {3});
  EXPECT_EQ(memory().Unprotect({3}), OsResult::kDone);
  ExpectMessage(FaultKind::kMissing, {3});
  memory().Fill({3}, FilledWith(kNew).data());
  EXPECT_TRUE(bench_->Finishes(thread));
}

TEST_P(GuestMemoryContract, UnregisteredRangeTakesNoFillsAndNoProtection) {
  Populate({3}, kOld);
  uint64_t filled = 0;
  EXPECT_EQ(memory().Fill({4}, FilledWith(kNew).data()), OsResult::kNotMapped);
  EXPECT_EQ(memory().FillZero({{4}, 1}, &filled), OsResult::kNotMapped);
  EXPECT_EQ(memory().WriteProtect({{3}, 1}), OsResult::kNotMapped);
  EXPECT_EQ(memory().Unprotect({3}), OsResult::kNotMapped);
}

TEST_P(GuestMemoryContract, UnregisteringWakesWaitersAndTakesProtectionOff) {
  Populate({3}, kOld);
  RegisterAll();
  memory().WriteProtect({{3}, 1});
  const size_t writer = bench_->StartWrite({3}, kNew);
  ExpectMessage(FaultKind::kWriteProtect, {3});
  EXPECT_EQ(memory().Unregister({{0}, GuestBench::kPages}), OsResult::kDone);
  EXPECT_TRUE(bench_->Finishes(writer));
  EXPECT_FALSE(Pte({3}).write_protected);
}

TEST_P(GuestMemoryContract, DiscardTellsItsRangeAndHoldsFillsUpUntilItIsRead) {
  Populate({9}, kOld);
  RegisterAll();
  const size_t thread = bench_->StartRead({12});
  ASSERT_TRUE(bench_->WaitForMessages());
  const size_t balloon = bench_->StartDiscard({{2}, 3});
  WaitUntilMapChanges({9});
  ExpectMessage(FaultKind::kMissing, {12});
  EXPECT_EQ(memory().Fill({12}, FilledWith(kNew).data()), OsResult::kRetry);
  EXPECT_EQ(memory().Unprotect({9}), OsResult::kRetry);
  uint64_t filled = 0;
  EXPECT_EQ(memory().FillZero({{12}, 1}, &filled), OsResult::kRetry);
  EXPECT_EQ(filled, 0u);
  EXPECT_EQ(memory().Wake({{13}, 1}), OsResult::kDone);

  const GuestMessage remove = bench_->NextMessage();
  EXPECT_EQ(remove.kind, FaultKind::kRemove);
  EXPECT_EQ(remove.range, (PageRange{{2}, 3}));
  EXPECT_TRUE(bench_->Finishes(balloon)) << "it waited for nothing but the read";
  EXPECT_EQ(memory().Fill({12}, FilledWith(kNew).data()), OsResult::kDone);
  EXPECT_TRUE(bench_->Finishes(thread));
}

TEST_P(GuestMemoryContract, NextPresentFindsTheRunsBetweenHoles) {
  EXPECT_EQ(memory().NextPresent({{0}, GuestBench::kPages}).count, 0u);
  for (const uint64_t page : {2, 3, 4, 9}) Populate({page}, kOld);
  EXPECT_EQ(memory().NextPresent({{0}, GuestBench::kPages}), (PageRange{{2}, 3}));
  EXPECT_EQ(memory().NextPresent({{3}, 10}), (PageRange{{3}, 2}));
  EXPECT_EQ(memory().NextPresent({{0}, 4}), (PageRange{{2}, 2})) << "not past the range";
  EXPECT_EQ(memory().NextPresent({{5}, 11}), (PageRange{{9}, 1}));
  EXPECT_EQ(memory().NextPresent({{10}, 6}).count, 0u);
  EXPECT_EQ(memory().ResidentPages(), 4u);
}

TEST_P(GuestMemoryContract, HolesReadAsZeros) { EXPECT_EQ(FirstByte({7}), std::byte{0}); }

TEST_P(GuestMemoryContract, PunchFreesTheWholeRun) {
  for (uint64_t page = 0; page < 8; ++page) Populate({page}, kOld);
  EXPECT_EQ(memory().Punch({{2}, 4}), OsResult::kDone);
  EXPECT_EQ(memory().ResidentPages(), 4u);
  EXPECT_EQ(memory().NextPresent({{0}, 8}), (PageRange{{0}, 2}));
}

TEST_P(GuestMemoryContract, NoMessageIsReadWhereNoneIsPending) {
  RegisterAll();
  std::array<GuestMessage, 4> messages;
  size_t count = 9;
  EXPECT_EQ(memory().ReadMessages(messages, &count), OsResult::kRetry);
  EXPECT_EQ(count, 0u);
}

TEST_P(GuestMemoryContract, MessagesOfSeveralThreadsAreReadTogether) {
  RegisterAll();
  std::vector<size_t> threads;
  for (uint64_t page = 0; page < 5; ++page) threads.push_back(bench_->StartRead({page}));
  std::vector<uint64_t> pages;
  for (int i = 0; i < 5; ++i) pages.push_back(bench_->NextMessage().range.first.value);
  std::sort(pages.begin(), pages.end());
  EXPECT_EQ(pages, (std::vector<uint64_t>{0, 1, 2, 3, 4}));
  uint64_t filled = 0;
  memory().FillZero({{0}, 5}, &filled);
  for (const size_t thread : threads) EXPECT_TRUE(bench_->Finishes(thread));
}

}  // namespace ebb
