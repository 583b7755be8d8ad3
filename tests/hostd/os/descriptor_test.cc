// SPDX-License-Identifier: MIT
#include "hostd/os/descriptor.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <string>

#include "hostd/base/unique_fd.h"
#include "hostd/base/units.h"
#include "tests/hostd/os/memfd.h"
#include "tests/hostd/os/temporary_folder.h"

namespace ebb {
namespace {

TEST(InspectMemfd, SaysSizeFileAndPages) {
  const UniqueFd fd = MakeMemfd(3);
  struct stat expected;
  ASSERT_EQ(fstat(fd.get(), &expected), 0);
  const auto info = InspectMemfd(fd.get());
  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_EQ(info->bytes, 3 * kPageBytes);
  EXPECT_EQ(info->page_bytes, kPageBytes);
  EXPECT_EQ(info->file, (FileId{expected.st_dev, expected.st_ino}));
}

TEST(InspectMemfd, TwoMemfdsAreTwoFiles) {
  const UniqueFd first = MakeMemfd(1);
  const UniqueFd second = MakeMemfd(1);
  EXPECT_NE(InspectMemfd(first.get())->file, InspectMemfd(second.get())->file);
}

TEST(InspectMemfd, MemfdOpenForReadingOnlyIsRefused) {
  const UniqueFd fd = MakeMemfd(1);
  const UniqueFd read_only(
      open(("/proc/self/fd/" + std::to_string(fd.get())).c_str(), O_RDONLY | O_CLOEXEC));
  const auto info = InspectMemfd(read_only.get());
  ASSERT_FALSE(info.ok());
  EXPECT_NE(info.status().message().find("reading and writing"), std::string::npos);
}

TEST(InspectMemfd, MemfdSealedAgainstWritingIsRefused) {
  for (const int seal : {F_SEAL_WRITE, F_SEAL_FUTURE_WRITE}) {
    const UniqueFd fd = MakeMemfd(1, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    ASSERT_EQ(fcntl(fd.get(), F_ADD_SEALS, seal), 0);
    const auto info = InspectMemfd(fd.get());
    ASSERT_FALSE(info.ok());
    EXPECT_NE(info.status().message().find("sealed against writing"), std::string::npos);
  }
}

TEST(InspectMemfd, MemfdSealedAgainstResizingIsFine) {
  const UniqueFd fd = MakeMemfd(1, MFD_CLOEXEC | MFD_ALLOW_SEALING);
  ASSERT_EQ(fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL), 0);
  EXPECT_TRUE(InspectMemfd(fd.get()).ok());
}

TEST(InspectMemfd, AnythingElseIsNoMemfd) {
  const TemporaryFolder folder;
  const UniqueFd pipe_or_socket(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const UniqueFd device(open("/dev/zero", O_RDWR | O_CLOEXEC));
  const UniqueFd event(eventfd(0, EFD_CLOEXEC));
  // A tmpfs file has seals as well, and a name by which others can open it.
  const UniqueFd tmpfs_file(open("/dev/shm", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  ASSERT_TRUE(tmpfs_file.valid());
  for (const int fd : {pipe_or_socket.get(), device.get(), event.get(), tmpfs_file.get(), -1}) {
    const auto info = InspectMemfd(fd);
    ASSERT_FALSE(info.ok());
    EXPECT_NE(info.status().message().find("not a memfd"), std::string::npos);
  }
}

TEST(CheckIsUserfaultfd, UserfaultfdPasses) {
  const UniqueFd fd(static_cast<int>(syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK)));
  if (!fd.valid()) GTEST_SKIP() << "no userfaultfd for this user";
  EXPECT_TRUE(CheckIsUserfaultfd(fd.get()).ok());
}

TEST(CheckIsUserfaultfd, AnythingElseIsRefused) {
  const UniqueFd event(eventfd(0, EFD_CLOEXEC));
  const UniqueFd memfd = MakeMemfd(1);
  for (const int fd : {event.get(), memfd.get(), -1, 9999}) {
    EXPECT_FALSE(CheckIsUserfaultfd(fd).ok());
  }
}

TEST(CheckIsUserfaultfd, FileOfThatNameIsRefused) {
  const TemporaryFolder folder;
  const UniqueFd fd(
      open(folder.File("anon_inode:[userfaultfd]").c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600));
  ASSERT_TRUE(fd.valid());
  EXPECT_FALSE(CheckIsUserfaultfd(fd.get()).ok());
}

}  // namespace
}  // namespace ebb
