// SPDX-License-Identifier: MIT
// What can be said without a guest; the operations themselves are in qemu_memory_test.cc.
#include "hostd/os/userfaultfd.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <string>

namespace ebb {
namespace {

UniqueFd MakeUserfaultfd(int flags) {
  return UniqueFd(static_cast<int>(syscall(SYS_userfaultfd, O_CLOEXEC | flags)));
}

TEST(Userfaultfd, FreshOneIsTaken) {
  UniqueFd fd = MakeUserfaultfd(O_NONBLOCK);
  if (!fd.valid()) GTEST_SKIP() << "no userfaultfd for this user";
  Userfaultfd userfaultfd(std::move(fd));
  EXPECT_TRUE(userfaultfd.EnableApi().ok());
  std::array<FaultMessage, 4> messages;
  size_t count = 9;
  EXPECT_EQ(userfaultfd.Read(messages, &count), OsResult::kRetry);
  EXPECT_EQ(count, 0u);
}

// A thread that reads a blocking one could not be stopped.
TEST(Userfaultfd, BlockingOneIsRefused) {
  UniqueFd fd = MakeUserfaultfd(0);
  if (!fd.valid()) GTEST_SKIP() << "no userfaultfd for this user";
  const absl::Status status = Userfaultfd(std::move(fd)).EnableApi();
  ASSERT_FALSE(status.ok());
  EXPECT_NE(status.message().find("non-blocking"), std::string::npos);
}

TEST(Userfaultfd, AnotherKindOfDescriptorIsRefused) {
  EXPECT_FALSE(Userfaultfd(UniqueFd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK))).EnableApi().ok());
  EXPECT_FALSE(Userfaultfd(UniqueFd()).EnableApi().ok());
}

TEST(Userfaultfd, AddressesThatAreNotMappedAreSaidToBe) {
  UniqueFd fd = MakeUserfaultfd(O_NONBLOCK);
  if (!fd.valid()) GTEST_SKIP() << "no userfaultfd for this user";
  Userfaultfd userfaultfd(std::move(fd));
  ASSERT_TRUE(userfaultfd.EnableApi().ok());
  const Hva nowhere{0x1000000};
  alignas(kPageBytes) std::array<std::byte, kPageBytes> page = {};
  uint64_t filled = 1;
  EXPECT_EQ(userfaultfd.Register(nowhere, kPageBytes), OsResult::kNotMapped);
  EXPECT_EQ(userfaultfd.Copy(nowhere, page.data()), OsResult::kNotMapped);
  EXPECT_EQ(userfaultfd.ZeroPage(nowhere, kPageBytes, &filled), OsResult::kNotMapped);
  EXPECT_EQ(filled, 0u);
  EXPECT_EQ(userfaultfd.SetWriteProtect(nowhere, kPageBytes, true), OsResult::kNotMapped);
}

}  // namespace
}  // namespace ebb
