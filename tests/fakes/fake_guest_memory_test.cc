// SPDX-License-Identifier: MIT
#include "tests/fakes/fake_guest_memory.h"

#include <gtest/gtest.h>

#include <array>
#include <memory>

#include "hostd/os/wake_event.h"
#include "tests/fakes/guest_memory_contract.h"

namespace ebb {
namespace {

using Kind = FaultMessage::Kind;

// ---- As the real kernel -------------------------------------------------------------------------

class FakeBench : public GuestBench {
 public:
  GuestMemory& memory() override { return memory_; }
  size_t StartRead(PageIndex page) override { return memory_.StartRead(page); }
  size_t StartWrite(PageIndex page, std::byte value) override {
    return memory_.StartWrite(page, value);
  }
  bool Finishes(size_t thread) override { return thread == kBalloon || !memory_.Blocked(thread); }
  bool StaysBlocked(size_t thread) override { return memory_.Blocked(thread); }
  std::byte ByteRead(size_t thread) override { return memory_.ContentRead(thread).front(); }
  size_t StartDiscard(PageRange range) override {
    memory_.Discard(range);
    return kBalloon;
  }
  bool WaitForMessages() override { return IsReadable(memory_.message_fd()); }
  GuestMessage NextMessage() override {
    std::array<GuestMessage, 1> messages;
    size_t count = 0;
    memory_.ReadMessages(messages, &count);
    return count == 1 ? messages[0] : GuestMessage{};
  }

 private:
  static constexpr size_t kBalloon = SIZE_MAX;

  FakeGuestMemory memory_{kPages};
};

INSTANTIATE_TEST_SUITE_P(Fake, GuestMemoryContract,
                         testing::Values([] { return std::make_unique<FakeBench>(); }));

// ---- What only the fake does --------------------------------------------------------------------

class FakeGuestMemoryTest : public testing::Test {
 protected:
  void SetUp() override {
    memory_.Register({{0}, 8});
    memory_.Register({{8}, 8});
  }
  size_t MessagesPending() {
    std::array<GuestMessage, 16> messages;
    size_t count = 0;
    memory_.ReadMessages(messages, &count);
    return count;
  }

  FakeGuestMemory memory_{{8, 8}};
};

TEST_F(FakeGuestMemoryTest, UnreadMessageOfAWokenThreadIsGone) {
  memory_.StartRead({3});
  uint64_t filled = 0;
  memory_.FillZero({{3}, 1}, &filled);
  EXPECT_EQ(MessagesPending(), 0u);
}

TEST_F(FakeGuestMemoryTest, SignalSendsASecondMessage) {
  const auto thread = memory_.StartRead({3});
  EXPECT_EQ(MessagesPending(), 1u);
  memory_.Interrupt(thread);
  EXPECT_EQ(MessagesPending(), 1u);
  EXPECT_EQ(memory_.FaultsOf(thread), 2u);
}

TEST_F(FakeGuestMemoryTest, MessageFdIsReadableWhileMessagesArePending) {
  EXPECT_FALSE(IsReadable(memory_.message_fd()));
  memory_.StartRead({3});
  EXPECT_TRUE(IsReadable(memory_.message_fd()));
  MessagesPending();
  EXPECT_FALSE(IsReadable(memory_.message_fd()));
}

TEST_F(FakeGuestMemoryTest, PageIsOwedOnceItsMessageIsRead) {
  memory_.StartRead({3});
  EXPECT_TRUE(memory_.OwedPages().empty());
  MessagesPending();
  EXPECT_EQ(memory_.OwedPages(), std::vector<PageIndex>{{3}});
}

TEST_F(FakeGuestMemoryTest, WithoutAutoRunAWokenThreadWaitsForItsTurn) {
  memory_.SetAutoRun(false);
  const auto thread = memory_.StartRead({3});
  memory_.Fill({3}, FilledWith(std::byte{1}).data());
  EXPECT_TRUE(memory_.Blocked(thread));
  EXPECT_EQ(memory_.Runnable(), std::vector<FakeGuestMemory::ThreadId>{thread});
  memory_.Run(thread);
  EXPECT_FALSE(memory_.Blocked(thread));
  EXPECT_TRUE(memory_.Runnable().empty());
}

TEST_F(FakeGuestMemoryTest, WithoutAutoRunQemuFinishesItsDiscardLater) {
  memory_.SetAutoRun(false);
  memory_.Discard({{3}, 1});
  MessagesPending();
  EXPECT_EQ(memory_.Fill({4}, FilledWith(std::byte{1}).data()), OsResult::kRetry);
  memory_.FinishRemoves();
  EXPECT_EQ(memory_.Fill({4}, FilledWith(std::byte{1}).data()), OsResult::kDone);
}

TEST_F(FakeGuestMemoryTest, InjectedFailureDoesNothingAndHappensOnce) {
  memory_.FailNext(GuestOp::kFill, OsResult::kNoMemory);
  EXPECT_EQ(memory_.Fill({3}, PageContent{}.data()), OsResult::kNoMemory);
  EXPECT_TRUE(memory_.Look({3}).hole);
  EXPECT_EQ(memory_.Fill({3}, PageContent{}.data()), OsResult::kDone);
}

TEST_F(FakeGuestMemoryTest, ActionsRunOnceAndInOrderAroundTheirOperation) {
  std::string order;
  memory_.BeforeNext(GuestOp::kPunch,
                     [&] { order += memory_.Look({3}).hole ? "after " : "before "; });
  memory_.AfterNext(GuestOp::kPunch,
                    [&] { order += memory_.Look({3}).hole ? "after " : "before "; });
  memory_.Populate({3}, FilledWith(std::byte{1}));
  memory_.Punch({{3}, 1});
  memory_.Punch({{3}, 1});
  EXPECT_EQ(order, "before after ");
}

TEST_F(FakeGuestMemoryTest, WhatADeviceWritesToAPunchedPageIsLost) {
  memory_.Populate({3}, FilledWith(std::byte{1}));
  const auto request = memory_.StartPin({3});
  memory_.Punch({{3}, 1});
  memory_.Fill({3}, FilledWith(std::byte{1}).data());
  memory_.FinishPin(request, std::byte{2});
  EXPECT_EQ(memory_.Content({3}), FilledWith(std::byte{1}));
}

TEST_F(FakeGuestMemoryTest, ADeviceIsNotSeenByALaterProtectionButStoppedByAnEarlierOne) {
  memory_.Populate({3}, FilledWith(std::byte{1}));
  const auto before = memory_.StartPin({3});
  EXPECT_FALSE(memory_.Blocked(before));
  memory_.WriteProtect({{3}, 1});
  memory_.FinishPin(before, std::byte{2});
  EXPECT_EQ(memory_.Content({3}), FilledWith(std::byte{2}));
  EXPECT_TRUE(memory_.Blocked(memory_.StartPin({3})));
}

TEST_F(FakeGuestMemoryTest, WrongOwnersAreNoted) {
  std::vector<uint64_t> words(16);
  PageWords page_words(reinterpret_cast<std::byte*>(words.data()), 16);
  memory_.WatchWords(&page_words);
  memory_.Unprotect({3});
  memory_.Punch({{3}, 1});
  EXPECT_EQ(memory_.Violations(), (std::vector<std::string>{"Unprotect of page 3 in Resident",
                                                            "Punch of page 3 in Resident"}));
  page_words.TryMove({3}, PageWord(), PageState::kFixing);
  memory_.Unprotect({3});
  page_words.Leave({3}, PageState::kResident);
  EXPECT_EQ(memory_.Violations().size(), 2u);
}

TEST_F(FakeGuestMemoryTest, RunsEndWithTheirMapping) {
  EXPECT_EQ(memory_.FirstRun({{5}, 10}), (PageRange{{5}, 3}));
  EXPECT_EQ(memory_.FirstRun({{8}, 2}), (PageRange{{8}, 2}));
  for (uint64_t page = 6; page < 10; ++page) memory_.Populate({page}, PageContent{});
  EXPECT_EQ(memory_.NextPresent({{0}, 16}), (PageRange{{6}, 2}));
}

TEST_F(FakeGuestMemoryTest, QemuThatIsGoneAnswersSo) {
  memory_.SetGone();
  EXPECT_EQ(memory_.Fill({3}, PageContent{}.data()), OsResult::kGone);
  EXPECT_EQ(memory_.Unprotect({3}), OsResult::kGone);
  EXPECT_EQ(memory_.Wake({{3}, 1}), OsResult::kDone);
}

}  // namespace
}  // namespace ebb
