// SPDX-License-Identifier: MIT
#include "hostd/os/shared_memory.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>
#include <utility>

#include "hostd/base/units.h"

namespace ebb {
namespace {

SharedMemory Create(uint64_t bytes) {
  auto memory = SharedMemory::Create("ebb-test", bytes);
  EXPECT_TRUE(memory.ok()) << memory.status();
  return *std::move(memory);
}

// Exit code of a child with uid nobody, which keeps the descriptor.
int AsNobody(int fd, int (*what)(int fd)) {
  const pid_t child = fork();
  if (child == 0) {
    if (setgid(65534) != 0 || setuid(65534) != 0) _exit(99);
    _exit(what(fd));
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

std::string PathOf(int fd) { return "/proc/self/fd/" + std::to_string(fd); }

TEST(SharedMemory, IsZeroAndKeepsWhatIsWritten) {
  const SharedMemory memory = Create(3 * kPageBytes);
  EXPECT_EQ(memory.bytes(), 3 * kPageBytes);
  EXPECT_EQ(memory.data()[2 * kPageBytes], std::byte{0});
  memory.data()[3 * kPageBytes - 1] = std::byte{7};
  EXPECT_EQ(memory.data()[3 * kPageBytes - 1], std::byte{7});
}

TEST(SharedMemory, SizeIsRoundedUpToWholePages) {
  EXPECT_EQ(Create(1).bytes(), kPageBytes);
  EXPECT_EQ(Create(kPageBytes + 1).bytes(), 2 * kPageBytes);
}

TEST(SharedMemory, TakesMemoryOnlyWhereItIsPopulated) {
  SharedMemory memory = Create(64 * kMiB);
  EXPECT_EQ(memory.allocated_bytes(), 0u);
  EXPECT_TRUE(memory.Populate(kMiB, 2 * kMiB));
  EXPECT_EQ(memory.allocated_bytes(), 2 * kMiB);
  memory.Free(kMiB, kMiB);
  EXPECT_EQ(memory.allocated_bytes(), kMiB);
}

TEST(SharedMemory, FreedPartReadsAsZero) {
  SharedMemory memory = Create(4 * kPageBytes);
  memory.data()[kPageBytes] = std::byte{7};
  memory.data()[2 * kPageBytes] = std::byte{8};
  memory.Free(kPageBytes, kPageBytes);
  EXPECT_EQ(memory.data()[kPageBytes], std::byte{0});
  EXPECT_EQ(memory.data()[2 * kPageBytes], std::byte{8}) << "its neighbour stays";
}

TEST(SharedMemory, MappingStaysWhereItIsWhenTheObjectMoves) {
  SharedMemory first = Create(kPageBytes);
  std::byte* const data = first.data();
  *data = std::byte{5};
  const SharedMemory second = std::move(first);
  EXPECT_EQ(second.data(), data);
  EXPECT_EQ(*second.data(), std::byte{5});
}

TEST(SharedMemory, ReadOnlyDescriptorShowsTheContent) {
  const SharedMemory memory = Create(kPageBytes);
  memory.data()[10] = std::byte{42};
  const auto fd = memory.OpenReadOnly();
  ASSERT_TRUE(fd.ok()) << fd.status();
  std::byte byte{};
  ASSERT_EQ(pread(fd->get(), &byte, 1, 10), 1);
  EXPECT_EQ(byte, std::byte{42});
  EXPECT_NE(mmap(nullptr, kPageBytes, PROT_READ, MAP_SHARED, fd->get(), 0), MAP_FAILED);
}

TEST(SharedMemory, ReadOnlyDescriptorKeepsTheMemoryAlive) {
  UniqueFd kept;
  {
    const SharedMemory memory = Create(kPageBytes);
    memory.data()[0] = std::byte{42};
    kept = *memory.OpenReadOnly();
  }
  std::byte byte{};
  ASSERT_EQ(pread(kept.get(), &byte, 1, 0), 1);
  EXPECT_EQ(byte, std::byte{42});
}

TEST(SharedMemory, ReadOnlyDescriptorCannotChangeIt) {
  const SharedMemory memory = Create(kPageBytes);
  const auto fd = memory.OpenReadOnly();
  EXPECT_LT(write(fd->get(), "x", 1), 0);
  EXPECT_EQ(mmap(nullptr, kPageBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd->get(), 0),
            MAP_FAILED);
  void* mapped = mmap(nullptr, kPageBytes, PROT_READ, MAP_SHARED, fd->get(), 0);
  ASSERT_NE(mapped, MAP_FAILED);
  EXPECT_NE(mprotect(mapped, kPageBytes, PROT_READ | PROT_WRITE), 0);
  EXPECT_NE(fallocate(fd->get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, kPageBytes), 0);
}

TEST(SharedMemory, CannotBeShrunkOrGrownOrUnsealed) {
  const SharedMemory memory = Create(2 * kPageBytes);
  const auto read_only = memory.OpenReadOnly();
  const UniqueFd writable(open(PathOf(read_only->get()).c_str(), O_RDWR | O_CLOEXEC));
  ASSERT_TRUE(writable.valid()) << "its owner may";
  EXPECT_NE(ftruncate(writable.get(), kPageBytes), 0);
  EXPECT_NE(ftruncate(writable.get(), 3 * kPageBytes), 0);
  EXPECT_NE(fcntl(writable.get(), F_ADD_SEALS, F_SEAL_WRITE), 0);
}

TEST(SharedMemory, IsForItsOwnerOnly) {
  const SharedMemory memory = Create(kPageBytes);
  struct stat info;
  ASSERT_EQ(fstat(memory.OpenReadOnly()->get(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
}

// QEMU runs as a user of its own, and has the descriptor.
TEST(SharedMemory, UnprivilegedHolderCannotOpenItAgainForWriting) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root, to become somebody else";
  const SharedMemory memory = Create(kPageBytes);
  const auto fd = memory.OpenReadOnly();
  EXPECT_EQ(
      AsNobody(fd->get(), [](int held) { return open(PathOf(held).c_str(), O_RDWR) < 0 ? 7 : 1; }),
      7);
  EXPECT_EQ(AsNobody(fd->get(),
                     [](int held) {
                       char byte;
                       return pread(held, &byte, 1, 0) == 1 ? 7 : 1;
                     }),
            7)
      << "it may read";
}

TEST(SharedMemory, NothingCannotBeMapped) {
  EXPECT_FALSE(SharedMemory::Create("ebb-test", 0).ok());
}

}  // namespace
}  // namespace ebb
