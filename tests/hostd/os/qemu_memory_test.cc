// SPDX-License-Identifier: MIT
// Needs root and /dev/userfaultfd.
#include "hostd/os/qemu_memory.h"

#include <gtest/gtest.h>
#include <poll.h>

#include <array>
#include <memory>
#include <utility>
#include <vector>

#include "hostd/os/process.h"
#include "tests/fakes/guest_memory_contract.h"
#include "tests/fakes/page_content.h"
#include "tests/hostd/os/guest_process.h"

namespace ebb {
namespace {

using Kind = FaultMessage::Kind;

// Null where the process could not be started.
std::unique_ptr<QemuMemory> OpenMemoryOf(GuestProcess* guest,
                                         const std::vector<uint64_t>& mapping_pages) {
  if (!guest->started()) return nullptr;
  QemuMemory::Handles handles;
  handles.userfaultfd = guest->TakeUserfaultfd();
  handles.memfds.emplace_back(dup(guest->memfd()));
  handles.pid = guest->pid();
  auto pidfd = OpenPidfd(guest->pid());
  if (!pidfd.ok()) return nullptr;
  handles.pidfd = *std::move(pidfd);
  std::vector<RamMapping> mappings;
  uint64_t offset = 0;
  for (size_t i = 0; i < mapping_pages.size(); ++i) {
    mappings.push_back({guest->hva(i), mapping_pages[i], offset, 0});
    offset += PagesToBytes(mapping_pages[i]);
  }
  auto memory = QemuMemory::Open(std::move(handles), RamLayout(std::move(mappings)));
  EXPECT_TRUE(memory.ok()) << memory.status();
  return memory.ok() ? *std::move(memory) : nullptr;
}

GuestMessage NextMessageOf(GuestMemory* memory) {
  pollfd wait = {memory->message_fd(), POLLIN, 0};
  std::array<GuestMessage, 1> messages;
  size_t count = 0;
  if (poll(&wait, 1, GuestProcess::kDeadlineMs) == 1) memory->ReadMessages(messages, &count);
  return count == 1 ? messages[0] : GuestMessage{};
}

// The guest of the contract, in a process on this kernel.
class RealBench : public GuestBench {
 public:
  static std::unique_ptr<RealBench> Start() {
    auto bench = std::make_unique<RealBench>();
    bench->memory_ = OpenMemoryOf(&bench->guest_, {kPages});
    EXPECT_NE(bench->memory_, nullptr) << "needs root and /dev/userfaultfd";
    return bench->memory_ != nullptr ? std::move(bench) : nullptr;
  }

  GuestMemory& memory() override { return *memory_; }
  size_t StartRead(PageIndex page) override { return guest_.StartRead(page.value); }
  size_t StartWrite(PageIndex page, std::byte value) override {
    return guest_.StartWrite(page.value, value);
  }
  bool Finishes(size_t thread) override { return guest_.Done(thread); }
  // Long enough for a woken thread to answer; too short only lets a mistake pass.
  bool StaysBlocked(size_t thread) override { return !guest_.Done(thread, /*timeout_ms=*/5); }
  std::byte ByteRead(size_t thread) override { return guest_.ByteRead(thread); }
  size_t StartDiscard(PageRange range) override {
    return guest_.StartDiscard(range.first.value, range.count);
  }
  bool WaitForMessages() override {
    pollfd wait = {memory_->message_fd(), POLLIN, 0};
    return poll(&wait, 1, GuestProcess::kDeadlineMs) == 1;
  }
  GuestMessage NextMessage() override { return NextMessageOf(memory_.get()); }

 private:
  GuestProcess guest_{{kPages}};
  std::unique_ptr<QemuMemory> memory_;
};

INSTANTIATE_TEST_SUITE_P(Kernel, GuestMemoryContract, testing::Values(&RealBench::Start));

TEST(HasUserfaultfdRegistered, IsTrueForAsLongAsAnyPartOfItsMemoryIs) {
  GuestProcess guest({8, 4});
  const auto memory = OpenMemoryOf(&guest, {8, 4});
  ASSERT_NE(memory, nullptr);
  EXPECT_FALSE(HasUserfaultfdRegistered(guest.pid()).value()) << "made is not registered";
  ASSERT_EQ(memory->Register({{8}, 4}), OsResult::kDone);
  EXPECT_TRUE(HasUserfaultfdRegistered(guest.pid()).value());
  ASSERT_EQ(memory->Unregister({{8}, 4}), OsResult::kDone);
  EXPECT_FALSE(HasUserfaultfdRegistered(guest.pid()).value());
  const int pid = guest.pid();
  guest.Kill();
  EXPECT_FALSE(HasUserfaultfdRegistered(pid).ok()) << "what cannot be seen is not known";
}

// Two mappings of one memfd, at unrelated addresses.
class QemuMemoryTest : public testing::Test {
 protected:
  void SetUp() override {
    memory_ = OpenMemoryOf(&guest_, {8, 4});
    ASSERT_NE(memory_, nullptr);
    for (const PageRange run : {PageRange{{0}, 8}, PageRange{{8}, 4}}) {
      ASSERT_EQ(memory_->Register(run), OsResult::kDone);
    }
  }
  void Populate(uint64_t page, std::byte value) {
    ASSERT_EQ(memory_->Fill({page}, FilledWith(value).data()), OsResult::kDone);
  }

  GuestProcess guest_{{8, 4}};
  std::unique_ptr<QemuMemory> memory_;
};

TEST_F(QemuMemoryTest, PagesOfTheSecondMappingAreReachedThroughItsAddresses) {
  const size_t thread = guest_.StartRead(9);
  const GuestMessage message = NextMessageOf(memory_.get());
  EXPECT_EQ(message.kind, Kind::kMissing);
  EXPECT_EQ(message.range, (PageRange{{9}, 1}));
  Populate(9, std::byte{0x42});
  ASSERT_TRUE(guest_.Done(thread));
  EXPECT_EQ(guest_.ByteRead(thread), std::byte{0x42});
  PageContent content;
  ASSERT_EQ(memory_->Read({9}, content.data()), OsResult::kDone);
  EXPECT_EQ(content, FilledWith(std::byte{0x42}));
  std::array<PteState, 4> ptes;
  ASSERT_EQ(memory_->ReadPtes({{8}, 4}, ptes), OsResult::kDone);
  EXPECT_FALSE(ptes[0].present);
  EXPECT_TRUE(ptes[1].present);
}

// The life of a page, as the daemon leads it.
TEST_F(QemuMemoryTest, PageGoesOutAndComesBackWithItsContent) {
  const PageContent content = RandomContent(1);
  ASSERT_EQ(memory_->Fill({10}, content.data()), OsResult::kDone);
  for (std::array<PteState, 1> pte{{{true, false}}}; pte[0].present;) {
    ASSERT_EQ(memory_->ZapPtes({{10}, 1}), OsResult::kDone);
    ASSERT_EQ(memory_->ReadPtes({{10}, 1}, pte), OsResult::kDone);
  }
  ASSERT_EQ(memory_->WriteProtect({{10}, 1}), OsResult::kDone);
  std::array<PteState, 1> pte;
  ASSERT_EQ(memory_->ReadPtes({{10}, 1}, pte), OsResult::kDone);
  ASSERT_TRUE(pte[0].write_protected && !pte[0].present);
  PageContent copy;
  ASSERT_EQ(memory_->Read({10}, copy.data()), OsResult::kDone);
  ASSERT_EQ(memory_->Punch({{10}, 1}), OsResult::kDone);
  EXPECT_EQ(memory_->NextPresent({{8}, 4}).count, 0u);
  const size_t writer = guest_.StartWrite(10, std::byte{0x77});
  ASSERT_EQ(NextMessageOf(memory_.get()).kind, Kind::kMissing);
  ASSERT_EQ(memory_->Fill({10}, copy.data()), OsResult::kDone);
  ASSERT_TRUE(guest_.Done(writer));
  PageContent expected = content;
  expected.front() = std::byte{0x77};
  ASSERT_EQ(memory_->Read({10}, copy.data()), OsResult::kDone);
  EXPECT_EQ(copy, expected);
}

TEST_F(QemuMemoryTest, NextPresentCrossesMappingsAndEndsItsRunWithOne) {
  for (const uint64_t page : {7, 8, 9}) Populate(page, std::byte{1});
  EXPECT_EQ(memory_->NextPresent({{0}, 12}), (PageRange{{7}, 1}));
  EXPECT_EQ(memory_->NextPresent({{8}, 4}), (PageRange{{8}, 2}));
  EXPECT_EQ(memory_->NextPresent({{10}, 2}).count, 0u);
  EXPECT_EQ(memory_->ResidentPages(), 3u);
}

TEST_F(QemuMemoryTest, DiscardIsToldByPageOfItsMapping) {
  Populate(9, std::byte{1});
  const size_t thread = guest_.StartDiscard(9, 2);
  const GuestMessage message = NextMessageOf(memory_.get());
  EXPECT_EQ(message.kind, Kind::kRemove);
  EXPECT_EQ(message.range, (PageRange{{9}, 2}));
  EXPECT_TRUE(guest_.Done(thread));
}

// Unplugged memory is not waited for, needs nothing, and what lies there now is left alone.
TEST_F(QemuMemoryTest, UnpluggedMappingIsFoundAndOutOfReach) {
  std::vector<PageRange> unmapped;
  ASSERT_EQ(memory_->FindUnmapped(&unmapped), OsResult::kDone);
  EXPECT_TRUE(unmapped.empty());
  ASSERT_TRUE(guest_.Done(guest_.StartUnplug(8, 4)));
  ASSERT_EQ(memory_->FindUnmapped(&unmapped), OsResult::kDone);
  EXPECT_EQ(unmapped, (std::vector<PageRange>{{{8}, 4}}));

  EXPECT_EQ(memory_->Fill({9}, RandomContent(1).data()), OsResult::kNotMapped);
  EXPECT_EQ(memory_->WriteProtect({{8}, 4}), OsResult::kNotMapped);
  uint64_t filled = 0;
  EXPECT_EQ(memory_->FillZero({{8}, 4}, &filled), OsResult::kNotMapped);
  const size_t thread = guest_.StartRead(9);
  ASSERT_TRUE(guest_.Done(thread)) << "it is nobody's but the guest's";
  EXPECT_EQ(guest_.ByteRead(thread), std::byte{0});
}

// Which is why registration looks for it.
TEST_F(QemuMemoryTest, WhatLiesThereNowCanBeRegisteredByMistake) {
  ASSERT_TRUE(guest_.Done(guest_.StartUnplug(8, 4)));
  ASSERT_EQ(memory_->Register({{8}, 4}), OsResult::kDone);
  EXPECT_EQ(memory_->Fill({9}, RandomContent(1).data()), OsResult::kDone);
}

TEST_F(QemuMemoryTest, MapOfAQemuThatHasExitedIsGone) {
  std::vector<PageRange> unmapped;
  guest_.Kill();
  EXPECT_EQ(memory_->FindUnmapped(&unmapped), OsResult::kGone);
}

TEST_F(QemuMemoryTest, QemuThatHasExitedIsGone) {
  Populate(1, std::byte{1});
  guest_.Kill();
  EXPECT_EQ(memory_->Fill({2}, PageContent{}.data()), OsResult::kGone);
  EXPECT_EQ(memory_->Unprotect({1}), OsResult::kGone);
  EXPECT_EQ(memory_->WriteProtect({{1}, 1}), OsResult::kGone);
  std::array<PteState, 2> ptes;
  EXPECT_EQ(memory_->ReadPtes({{0}, 2}, ptes), OsResult::kGone);
  EXPECT_EQ(memory_->ZapPtes({{0}, 1}), OsResult::kGone);
}

TEST_F(QemuMemoryTest, MemoryOfAQemuThatHasExitedCanStillBeReadAndFreed) {
  Populate(1, std::byte{9});
  guest_.Kill();
  PageContent content;
  EXPECT_EQ(memory_->Read({1}, content.data()), OsResult::kDone);
  EXPECT_EQ(content.front(), std::byte{9});
  EXPECT_EQ(memory_->Punch({{1}, 1}), OsResult::kDone);
}

TEST(QemuMemoryOpen, UserfaultfdThatIsInUseAlreadyIsRefused) {
  GuestProcess guest({4});
  ASSERT_TRUE(guest.started());
  UniqueFd uffd = guest.TakeUserfaultfd();
  for (int tries = 0; tries < 2; ++tries) {
    QemuMemory::Handles handles;
    handles.userfaultfd = UniqueFd(dup(uffd.get()));
    handles.memfds.emplace_back(dup(guest.memfd()));
    handles.pid = guest.pid();
    const auto memory = QemuMemory::Open(std::move(handles), RamLayout({{guest.hva(0), 4, 0, 0}}));
    EXPECT_EQ(memory.ok(), tries == 0) << "the second finds features chosen by another";
  }
}

// Both have their memory at the same address, so that everything but the effect is right.
TEST(QemuMemoryOpen, UserfaultfdThatAnotherProcessMadeIsRefused) {
  GuestProcess guest({4});
  GuestProcess other({4});
  ASSERT_TRUE(guest.started() && other.started());
  EXPECT_EQ(guest.hva(0).value, other.hva(0).value);
  QemuMemory::Handles handles;
  handles.userfaultfd = other.TakeUserfaultfd();
  handles.memfds.emplace_back(dup(guest.memfd()));
  handles.pid = guest.pid();
  const auto memory = QemuMemory::Open(std::move(handles), RamLayout({{guest.hva(0), 4, 0, 0}}));
  ASSERT_FALSE(memory.ok());
  EXPECT_NE(memory.status().message().find("another process"), std::string::npos);
  EXPECT_TRUE(other.Done(other.StartWrite(0, std::byte{1}))) << "nothing is left on its memory";
}

TEST(QemuMemoryOpen, ProcessThatIsGoneIsRefused) {
  GuestProcess guest({4});
  ASSERT_TRUE(guest.started());
  QemuMemory::Handles handles;
  handles.userfaultfd = guest.TakeUserfaultfd();
  handles.pid = guest.pid();
  guest.Kill();
  EXPECT_FALSE(QemuMemory::Open(std::move(handles), RamLayout({{guest.hva(0), 4, 0, 0}})).ok());
}

}  // namespace
}  // namespace ebb
