// SPDX-License-Identifier: MIT
#include "tests/fakes/fake_disk.h"

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <memory>
#include <optional>

#include "hostd/base/units.h"
#include "hostd/os/wake_event.h"
#include "tests/fakes/disk_contract.h"

namespace ebb {
namespace {

// ---- As the real disk ---------------------------------------------------------------------------

class FakeDiskBench final : public DiskBench {
 public:
  Disk& disk() override { return disk_; }
  void LetEnd() override { disk_.Complete(); }

 private:
  FakeDisk disk_{kBytes};
};

INSTANTIATE_TEST_SUITE_P(Fake, DiskContract,
                         testing::Values([] { return std::make_unique<FakeDiskBench>(); }));

// ---- What only the fake does --------------------------------------------------------------------

class FakeDiskTest : public testing::Test {
 protected:
  void SetUp() override { queue_ = *disk_.OpenQueue(4, kPageBytes); }

  bool StartWrite(uint32_t slot, std::byte value) {
    std::memset(queue_->memory(slot), static_cast<int>(value), kPageBytes);
    return queue_->StartWrite(slot, 0, kPageBytes);
  }
  // None while nothing has ended.
  std::optional<DiskQueue::Ended> Reap() {
    std::array<DiskQueue::Ended, 1> ended;
    return queue_->Reap(ended) == 1 ? std::optional(ended[0]) : std::nullopt;
  }
  bool Succeeds() {
    const auto ended = Reap();
    return ended.has_value() && ended->ok;
  }

  FakeDisk disk_{16 * kPageBytes};
  std::unique_ptr<DiskQueue> queue_;
};

TEST_F(FakeDiskTest, NothingEndsBeforeTheTestSaysSo) {
  ASSERT_TRUE(StartWrite(0, std::byte{1}));
  ASSERT_TRUE(queue_->StartRead(1, 0, kPageBytes));
  EXPECT_FALSE(Reap().has_value());
  EXPECT_EQ(disk_.data()[0], std::byte{0});
  EXPECT_EQ(disk_.pending(), 2u);
  EXPECT_EQ(disk_.Complete(1), 1u);
  EXPECT_EQ(disk_.data()[0], std::byte{1});
  EXPECT_TRUE(IsReadable(queue_->fd()));
  EXPECT_EQ(Reap()->slot, 0u);
  EXPECT_FALSE(IsReadable(queue_->fd()));
  EXPECT_EQ(disk_.Complete(), 1u);
  EXPECT_EQ(Reap()->slot, 1u);
  EXPECT_EQ(disk_.reads(), 1u);
  EXPECT_EQ(disk_.writes(), 1u);
}

TEST_F(FakeDiskTest, WritesWhatTheSlotHeldWhenItWasStarted) {
  ASSERT_TRUE(StartWrite(0, std::byte{1}));
  queue_->memory(0)[0] = std::byte{2};
  disk_.Complete();
  EXPECT_EQ(disk_.data()[0], std::byte{1});
}

TEST_F(FakeDiskTest, WriteEndsAfterItsQueueHasGone) {
  ASSERT_TRUE(StartWrite(0, std::byte{1}));
  ASSERT_TRUE(queue_->StartRead(1, 0, kPageBytes));
  queue_.reset();
  EXPECT_EQ(disk_.data()[0], std::byte{0});
  EXPECT_EQ(disk_.Complete(), 2u);
  EXPECT_EQ(disk_.data()[0], std::byte{1});
}

TEST_F(FakeDiskTest, AutomaticEndsEachAtOnce) {
  ASSERT_TRUE(StartWrite(0, std::byte{1}));
  disk_.SetAutomatic(true);
  EXPECT_TRUE(Succeeds()) << "what was pending, too";
  ASSERT_TRUE(StartWrite(0, std::byte{2}));
  EXPECT_EQ(disk_.data()[0], std::byte{2});
  EXPECT_EQ(queue_->in_flight(), 1u) << "until it is reaped";
  EXPECT_TRUE(Succeeds());
}

TEST_F(FakeDiskTest, NothingEndsWhileItStalls) {
  disk_.SetAutomatic(true);
  disk_.Stall(true);
  ASSERT_TRUE(StartWrite(0, std::byte{1}));
  EXPECT_EQ(disk_.Complete(), 0u);
  EXPECT_FALSE(Reap().has_value());
  disk_.Stall(false);
  EXPECT_TRUE(Succeeds());
}

TEST_F(FakeDiskTest, RefusesToStart) {
  disk_.SetAutomatic(true);
  disk_.SetRefuse(true);
  EXPECT_FALSE(StartWrite(0, std::byte{1}));
  EXPECT_EQ(queue_->in_flight(), 0u);
  EXPECT_EQ(disk_.writes(), 0u);
  disk_.SetRefuse(false);
  EXPECT_TRUE(StartWrite(0, std::byte{1}));
  EXPECT_TRUE(Succeeds());
}

TEST_F(FakeDiskTest, FailsAsOftenAsItIsTold) {
  disk_.SetAutomatic(true);
  disk_.FailNextWrites(1);
  ASSERT_TRUE(StartWrite(0, std::byte{1}));
  EXPECT_FALSE(Succeeds());
  EXPECT_EQ(disk_.data()[0], std::byte{0});
  ASSERT_TRUE(StartWrite(0, std::byte{1}));
  EXPECT_TRUE(Succeeds());
  disk_.FailNextReads(2);
  for (const bool expected : {false, false, true}) {
    ASSERT_TRUE(queue_->StartRead(0, 0, kPageBytes));
    EXPECT_EQ(Succeeds(), expected);
  }
}

TEST_F(FakeDiskTest, ReadsWhatTheTestHasDamaged) {
  disk_.SetAutomatic(true);
  ASSERT_TRUE(StartWrite(0, std::byte{1}));
  EXPECT_TRUE(Succeeds());
  disk_.data()[7] = std::byte{9};
  ASSERT_TRUE(queue_->StartRead(1, 0, kPageBytes));
  EXPECT_TRUE(Succeeds());
  EXPECT_EQ(queue_->memory(1)[7], std::byte{9});
}

}  // namespace
}  // namespace ebb
