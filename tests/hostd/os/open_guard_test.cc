// SPDX-License-Identifier: MIT
// Needs root, and a kernel with fanotify's permission events.
#include "hostd/os/open_guard.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <utility>
#include <vector>

#include "hostd/base/units.h"
#include "tests/hostd/os/memfd.h"

namespace ebb {
namespace {

class OpenGuardTest : public testing::Test {
 protected:
  void SetUp() override {
    for (int i = 0; i < 2; ++i) memfds_.push_back(MakeMemfd(1));
    auto guard = OpenGuard::Start();
    ASSERT_TRUE(guard.ok()) << guard.status();
    guard_ = *std::move(guard);
  }
  static std::string PathOf(const UniqueFd& file) {
    return "/proc/" + std::to_string(getpid()) + "/fd/" + std::to_string(file.get());
  }
  static bool CanOpen(const UniqueFd& file, int flags = O_RDWR) {
    return UniqueFd(open(PathOf(file).c_str(), flags | O_CLOEXEC)).valid();
  }
  // errno of another process's open; 0: it opened.
  static int OpenElsewhere(const UniqueFd& file, pid_t* pid) {
    const std::string path = PathOf(file);
    *pid = fork();
    if (*pid == 0) _exit(open(path.c_str(), O_RDWR) >= 0 ? 0 : errno);
    int status = 0;
    EXPECT_EQ(waitpid(*pid, &status, 0), *pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  OpenGuard::Ban Forbid(size_t memfd) {
    std::vector<UniqueFd> files;
    files.emplace_back(dup(memfds_[memfd].get()));
    auto ban = guard_->Forbid(files);
    EXPECT_TRUE(ban.ok()) << ban.status();
    return ban.ok() ? *std::move(ban) : OpenGuard::Ban();
  }

  std::vector<UniqueFd> memfds_;
  std::unique_ptr<OpenGuard> guard_;
};

TEST_F(OpenGuardTest, ForbiddenFileCannotBeOpenedAndOthersCan) {
  OpenGuard::Ban ban = Forbid(0);
  EXPECT_FALSE(CanOpen(memfds_[0]));
  EXPECT_FALSE(CanOpen(memfds_[0], O_RDONLY));
  EXPECT_TRUE(CanOpen(memfds_[1]));
  ban.Lift();
  EXPECT_TRUE(CanOpen(memfds_[0]));
}

TEST_F(OpenGuardTest, EndOfTheBanLetsOpen) {
  { const OpenGuard::Ban ban = Forbid(0); }
  EXPECT_TRUE(CanOpen(memfds_[0]));
}

TEST_F(OpenGuardTest, MovedBanHolds) {
  OpenGuard::Ban ban = Forbid(0);
  {
    const OpenGuard::Ban moved = std::move(ban);
    EXPECT_FALSE(CanOpen(memfds_[0]));
  }
  EXPECT_TRUE(CanOpen(memfds_[0]));
  ban = Forbid(0);
  ban = Forbid(1);
  EXPECT_TRUE(CanOpen(memfds_[0]));
  EXPECT_FALSE(CanOpen(memfds_[1]));
}

// A VM may claim the memory of another.
TEST_F(OpenGuardTest, SecondBanOfTheSameFileDoesNotEndTheFirst) {
  const OpenGuard::Ban first = Forbid(0);
  { const OpenGuard::Ban second = Forbid(0); }
  EXPECT_FALSE(CanOpen(memfds_[0]));
}

TEST_F(OpenGuardTest, BanOfSeveralFilesFailsAsAWhole) {
  std::vector<UniqueFd> files;
  files.emplace_back(dup(memfds_[0].get()));
  files.emplace_back();
  EXPECT_FALSE(guard_->Forbid(files).ok());
  EXPECT_TRUE(CanOpen(memfds_[0]));
}

TEST_F(OpenGuardTest, DescriptorsThatExistGoOn) {
  const OpenGuard::Ban ban = Forbid(0);
  EXPECT_EQ(pwrite(memfds_[0].get(), "x", 1, 0), 1);
  void* const mapped =
      mmap(nullptr, kPageBytes, PROT_READ | PROT_WRITE, MAP_SHARED, memfds_[0].get(), 0);
  ASSERT_NE(mapped, MAP_FAILED);
  munmap(mapped, kPageBytes);
  struct stat info;
  EXPECT_EQ(stat(PathOf(memfds_[0]).c_str(), &info), 0) << "looking at it is no open";
}

TEST_F(OpenGuardTest, RefusedProcessIsNamed) {
  const OpenGuard::Ban ban = Forbid(1);
  pid_t pid = 0;
  EXPECT_EQ(OpenElsewhere(memfds_[1], &pid), EPERM);
  const OpenGuard::Refusals refusals = guard_->TakeRefusals();
  ASSERT_EQ(refusals.some.size(), 1u);
  EXPECT_EQ(refusals.others, 0u);
  EXPECT_EQ(refusals.some[0].pid, pid);
  EXPECT_EQ(refusals.some[0].file, FileOf(memfds_[1].get()));
  EXPECT_EQ(refusals.some[0].program, "os_kernel_test");
  EXPECT_TRUE(guard_->TakeRefusals().some.empty());
}

TEST_F(OpenGuardTest, WhatIsKeptOfRefusalsIsBounded) {
  const OpenGuard::Ban ban = Forbid(0);
  for (int i = 0; i < 100; ++i) EXPECT_FALSE(CanOpen(memfds_[0]));
  const OpenGuard::Refusals refusals = guard_->TakeRefusals();
  EXPECT_EQ(refusals.some.size(), 16u);
  EXPECT_EQ(refusals.others, 84u);
}

// A group that ends lets go of who waits, as when ebbd dies.
TEST_F(OpenGuardTest, WithoutTheGuardTheKernelLetsOpen) {
  // It ends without its destructors.
  const pid_t ebbd = fork();
  if (ebbd == 0) {
    auto guard = OpenGuard::Start();
    if (!guard.ok()) _exit(1);
    const auto ban = (*guard)->Forbid(memfds_);
    const bool forbidden = ban.ok() && !CanOpen(memfds_[0]);
    _exit(forbidden ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(ebbd, &status, 0), ebbd);
  EXPECT_EQ(status, 0);
  EXPECT_TRUE(CanOpen(memfds_[0]));
}

}  // namespace
}  // namespace ebb
