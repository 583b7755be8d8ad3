// SPDX-License-Identifier: MIT
#include "tests/fakes/disk_contract.h"

#include <poll.h>

#include <algorithm>
#include <cstring>

#include "hostd/base/clock.h"
#include "hostd/base/units.h"
#include "hostd/os/wake_event.h"

namespace ebb {

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(DiskContract);

void DiskContract::SetUp() {
  bench_ = GetParam()();
  ASSERT_NE(bench_, nullptr);
}

std::unique_ptr<DiskQueue> DiskContract::OpenQueue() {
  auto queue = bench_->disk().OpenQueue(kSlots, kSlotBytes);
  EXPECT_TRUE(queue.ok()) << queue.status();
  return *std::move(queue);
}

std::vector<DiskQueue::Ended> DiskContract::ReapAll(DiskQueue& queue) {
  std::vector<DiskQueue::Ended> all;
  std::array<DiskQueue::Ended, 3> some;
  bench_->LetEnd();
  const int64_t end_ns = MonotonicNs() + kDeadlineMs * kNsPerMs;
  while (queue.in_flight() != 0 && MonotonicNs() < end_ns) {
    pollfd readable = {queue.fd(), POLLIN, 0};
    poll(&readable, 1, kDeadlineMs);
    const size_t count = queue.Reap(some);
    all.insert(all.end(), some.begin(), some.begin() + static_cast<ptrdiff_t>(count));
  }
  EXPECT_EQ(queue.in_flight(), 0u) << "the disk did not answer in time";
  return all;
}

bool DiskContract::Succeeds(DiskQueue& queue) {
  const auto ended = ReapAll(queue);
  EXPECT_EQ(ended.size(), 1u);
  return ended.size() == 1 && ended[0].ok;
}

void DiskContract::Write(DiskQueue& queue, uint64_t offset, std::byte value) {
  std::memset(queue.memory(0), static_cast<int>(value), kPageBytes);
  ASSERT_TRUE(queue.StartWrite(0, offset, kPageBytes));
  ASSERT_TRUE(Succeeds(queue));
}

std::byte DiskContract::Read(DiskQueue& queue, uint64_t offset) {
  std::memset(queue.memory(1), 0xee, kPageBytes);
  EXPECT_TRUE(queue.StartRead(1, offset, kPageBytes));
  EXPECT_TRUE(Succeeds(queue));
  const std::byte* page = queue.memory(1);
  EXPECT_TRUE(std::all_of(page, page + kPageBytes, [&](std::byte b) { return b == page[0]; }));
  return page[0];
}

TEST_P(DiskContract, SlotsArePagesOfTheirOwn) {
  const auto queue = OpenQueue();
  EXPECT_EQ(queue->slots(), kSlots);
  EXPECT_EQ(queue->slot_bytes(), kSlotBytes);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(queue->memory(0)) % kPageBytes, 0u);
  EXPECT_EQ(queue->memory(1), queue->memory(0) + kSlotBytes);
  EXPECT_EQ(bench_->disk().bytes(), DiskBench::kBytes);
}

TEST_P(DiskContract, NoSlotsOrPartsOfPagesAreRefused) {
  EXPECT_FALSE(bench_->disk().OpenQueue(0, kSlotBytes).ok());
  EXPECT_FALSE(bench_->disk().OpenQueue(kSlots, 0).ok());
  EXPECT_FALSE(bench_->disk().OpenQueue(kSlots, kSlotBytes + 1).ok());
}

TEST_P(DiskContract, GivesBackWhatWasWritten) {
  const auto queue = OpenQueue();
  Write(*queue, 0, kFirst);
  Write(*queue, 5 * kPageBytes, kSecond);
  EXPECT_EQ(Read(*queue, 0), kFirst);
  EXPECT_EQ(Read(*queue, 5 * kPageBytes), kSecond);
}

TEST_P(DiskContract, AnotherQueueReadsIt) {
  const auto writer = OpenQueue();
  const auto reader = OpenQueue();
  Write(*writer, kPageBytes, kFirst);
  EXPECT_EQ(Read(*reader, kPageBytes), kFirst);
}

TEST_P(DiskContract, OfSeveralBlocksEachIsRead) {
  const auto queue = OpenQueue();
  for (uint32_t i = 0; i < kSlotBytes; ++i) queue->memory(2)[i] = std::byte(i / kPageBytes + 1);
  ASSERT_TRUE(queue->StartWrite(2, kSlotBytes, kSlotBytes));
  EXPECT_TRUE(Succeeds(*queue));
  ASSERT_TRUE(queue->StartRead(3, kSlotBytes + 2 * kPageBytes, 2 * kPageBytes));
  EXPECT_TRUE(Succeeds(*queue));
  EXPECT_EQ(queue->memory(3)[0], std::byte{3});
  EXPECT_EQ(queue->memory(3)[2 * kPageBytes - 1], std::byte{4});
}

TEST_P(DiskContract, SeveralAreInFlight) {
  const auto queue = OpenQueue();
  for (uint32_t slot = 0; slot < kSlots; ++slot) {
    std::memset(queue->memory(slot), static_cast<int>(slot + 1), kPageBytes);
    ASSERT_TRUE(queue->StartWrite(slot, slot * kPageBytes, kPageBytes));
    EXPECT_EQ(queue->in_flight(), slot + 1) << "until it is reaped";
  }
  std::array<int, kSlots> times = {};
  for (const DiskQueue::Ended& ended : ReapAll(*queue)) {
    EXPECT_TRUE(ended.ok);
    ++times.at(ended.slot);
  }
  EXPECT_EQ(std::count(times.begin(), times.end(), 1), int{kSlots});
  for (uint32_t slot = 0; slot < kSlots; ++slot) {
    EXPECT_EQ(Read(*queue, slot * kPageBytes), std::byte(slot + 1));
  }
}

TEST_P(DiskContract, NothingShowsWhereNothingHasEnded) {
  const auto queue = OpenQueue();
  std::array<DiskQueue::Ended, 1> ended;
  EXPECT_EQ(queue->Reap(ended), 0u);
  EXPECT_FALSE(IsReadable(queue->fd()));
  Write(*queue, 0, kFirst);
  EXPECT_FALSE(IsReadable(queue->fd()));
}

TEST_P(DiskContract, BehindTheEndEverythingFails) {
  const auto queue = OpenQueue();
  for (const uint64_t offset : {DiskBench::kBytes, DiskBench::kBytes - kPageBytes, 1ul << 62}) {
    ASSERT_TRUE(queue->StartRead(0, offset, 2 * kPageBytes));
    EXPECT_FALSE(Succeeds(*queue)) << offset;
    ASSERT_TRUE(queue->StartWrite(0, offset, 2 * kPageBytes));
    EXPECT_FALSE(Succeeds(*queue)) << offset;
  }
  Write(*queue, DiskBench::kBytes - kPageBytes, kFirst);
}

TEST_P(DiskContract, QueueMayGoWithReadsAndWritesInFlight) {
  const auto other = OpenQueue();
  for (int times = 0; times < 20; ++times) {
    const auto queue = OpenQueue();
    for (uint32_t slot = 0; slot < kSlots; ++slot) {
      std::memset(queue->memory(slot), 0x77, kSlotBytes);
      ASSERT_TRUE(slot % 2 == 0 ? queue->StartRead(slot, 0, kSlotBytes)
                                : queue->StartWrite(slot, slot * kSlotBytes, kSlotBytes));
    }
  }
  bench_->LetEnd();
  Write(*other, 0, kFirst);
  EXPECT_EQ(Read(*other, 0), kFirst);
}

}  // namespace ebb
