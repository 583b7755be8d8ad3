// SPDX-License-Identifier: MIT
#include "hostd/os/uring_disk.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <optional>
#include <thread>

#include "hostd/base/units.h"
#include "tests/fakes/disk_contract.h"
#include "tests/hostd/os/temporary_folder.h"

namespace ebb {
namespace {

constexpr int kAnswerDeadlineMs = 20000;

// A file of zeros, whose disk is only as long as the contract says: what is behind is not its own.
UniqueFd OpenDirect(const std::string& path, uint64_t bytes) {
  UniqueFd fd(open(path.c_str(), O_RDWR | O_CREAT | O_DIRECT | O_CLOEXEC, 0600));
  EXPECT_TRUE(fd.valid()) << path << " must be on a disk: " << std::strerror(errno);
  EXPECT_EQ(ftruncate(fd.get(), static_cast<off_t>(bytes)), 0);
  return fd;
}

class UringDiskBench final : public DiskBench {
 public:
  Disk& disk() override { return *disk_; }
  void LetEnd() override {}

 private:
  TemporaryFolder folder_{kFolderOnDisk};
  std::unique_ptr<Disk> disk_ = MakeUringDisk(OpenDirect(folder_.File("disk"), 2 * kBytes), kBytes);
};

INSTANTIATE_TEST_SUITE_P(Uring, DiskContract,
                         testing::Values([] { return std::make_unique<UringDiskBench>(); }));

// None when nothing ends in time.
std::optional<DiskQueue::Ended> NextEnded(DiskQueue& queue) {
  std::array<DiskQueue::Ended, 1> ended;
  pollfd readable = {queue.fd(), POLLIN, 0};
  while (queue.Reap(ended) == 0) {
    if (poll(&readable, 1, kAnswerDeadlineMs) == 0) return std::nullopt;
  }
  return ended[0];
}

// From now on, in this thread alone, the call fails so; or only with this second argument.
void Forbid(uint32_t call, int error, std::optional<uint32_t> second_argument = std::nullopt) {
  const uint32_t fail = SECCOMP_RET_ERRNO | static_cast<uint32_t>(error);
  const uint8_t to_next = second_argument.has_value() ? 0 : 2;
  sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, to_next, 3),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args[1])),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, second_argument.value_or(0), 0, 1),
      BPF_STMT(BPF_RET | BPF_K, fail),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program = {sizeof filter / sizeof *filter, filter};
  ASSERT_EQ(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
  ASSERT_EQ(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

class UringDiskTest : public testing::Test {
 protected:
  static constexpr uint64_t kBytes = kMiB;

  std::unique_ptr<DiskQueue> OpenQueue(uint32_t slots) {
    auto queue = disk_->OpenQueue(slots, kPageBytes);
    EXPECT_TRUE(queue.ok()) << queue.status();
    return *std::move(queue);
  }

  TemporaryFolder folder_{kFolderOnDisk};
  std::string path_ = folder_.File("disk");
  std::unique_ptr<Disk> disk_ = MakeUringDisk(OpenDirect(path_, kBytes), kBytes);
};

TEST_F(UringDiskTest, WritesIntoTheFile) {
  const auto queue = OpenQueue(1);
  std::memset(queue->memory(0), 0x42, kPageBytes);
  ASSERT_TRUE(queue->StartWrite(0, 3 * kPageBytes, kPageBytes));
  EXPECT_TRUE(NextEnded(*queue)->ok);
  const UniqueFd fd(open(path_.c_str(), O_RDONLY | O_CLOEXEC));
  std::array<char, 2> bytes = {};
  ASSERT_EQ(pread(fd.get(), bytes.data(), 2, 4 * kPageBytes - 1), 2);
  EXPECT_EQ(bytes[0], 0x42);
  EXPECT_EQ(bytes[1], 0);
}

TEST_F(UringDiskTest, ReadOfAFileThatHasBecomeShorterFails) {
  const auto queue = OpenQueue(1);
  ASSERT_EQ(truncate(path_.c_str(), kBytes / 2), 0);
  ASSERT_TRUE(queue->StartRead(0, kBytes / 2, kPageBytes));
  EXPECT_FALSE(NextEnded(*queue)->ok);
}

TEST_F(UringDiskTest, QueueWorksAfterTheDiskHasGoneAndInAnotherThread) {
  const auto queue = OpenQueue(1);
  disk_.reset();
  std::thread([&] {
    EXPECT_TRUE(queue->StartRead(0, 0, kPageBytes));
    EXPECT_TRUE(NextEnded(*queue)->ok);
  }).join();
}

TEST_F(UringDiskTest, TooManySlotsAreRefused) {
  EXPECT_FALSE(disk_->OpenQueue(1 << 20, kPageBytes).ok());
}

TEST_F(UringDiskTest, SaysWhatToDoWhereIoUringIsForbidden) {
  for (const int error : {EPERM, ENOSYS}) {
    std::thread([&] {
      Forbid(__NR_io_uring_setup, error);
      const auto queue = disk_->OpenQueue(1, kPageBytes);
      ASSERT_FALSE(queue.ok());
      EXPECT_NE(queue.status().message().find("kernel.io_uring_disabled"), std::string::npos);
    }).join();
  }
}

TEST_F(UringDiskTest, WhatTheKernelDoesNotTakeNeverHappens) {
  const auto queue = OpenQueue(2);
  std::thread([&] {
    Forbid(__NR_io_uring_enter, EAGAIN, 1);  // one alone to submit
    std::memset(queue->memory(0), 0x42, kPageBytes);
    EXPECT_FALSE(queue->StartWrite(0, 0, kPageBytes));
    EXPECT_EQ(queue->in_flight(), 0u);
    // Now there are two, of which the first must do nothing.
    ASSERT_TRUE(queue->StartRead(1, 0, kPageBytes));
    const auto ended = NextEnded(*queue);
    ASSERT_TRUE(ended.has_value());
    EXPECT_EQ(ended->slot, 1u);
    EXPECT_TRUE(ended->ok);
    EXPECT_EQ(queue->in_flight(), 0u);
  }).join();
  ASSERT_TRUE(queue->StartRead(0, 0, kPageBytes)) << "the slot is idle";
  EXPECT_TRUE(NextEnded(*queue)->ok);
  EXPECT_EQ(queue->memory(0)[0], std::byte{0}) << "nothing was written";
}

TEST_F(UringDiskTest, KernelThatTakesNothingForLongDoesNoHarm) {
  const auto queue = OpenQueue(2);
  std::thread([&] {
    Forbid(__NR_io_uring_enter, EBUSY);
    for (int times = 0; times < 100; ++times) EXPECT_FALSE(queue->StartRead(0, 0, kPageBytes));
  }).join();
  EXPECT_FALSE(queue->StartRead(0, 0, kPageBytes)) << "gets rid of what has piled up";
  for (int times = 0; times < 100; ++times) {
    ASSERT_TRUE(queue->StartRead(0, 0, kPageBytes));
    EXPECT_TRUE(NextEnded(*queue)->ok);
  }
}

}  // namespace
}  // namespace ebb
