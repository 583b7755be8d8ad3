// SPDX-License-Identifier: MIT
#include "hostd/os/thread.h"

#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <string>

#include "absl/base/config.h"
#include "hostd/os/process.h"

namespace ebb {
namespace {

std::string OwnName() {
  std::array<char, 16> name = {};
  pthread_getname_np(pthread_self(), name.data(), name.size());
  return name.data();
}

int OwnNice() { return getpriority(PRIO_PROCESS, static_cast<id_t>(syscall(SYS_gettid))); }

template <typename Function>
void OnAThread(Function function) {
  std::thread(function).join();
}

TEST(EnterThreadRole, ThreadHasItsName) {
  OnAThread([] {
    EnterThreadRole("fault/vm1", ThreadRole::kFault);
    EXPECT_EQ(OwnName(), "fault/vm1");
  });
}

TEST(EnterThreadRole, LongNameKeepsItsFirst15Characters) {
  OnAThread([] {
    EnterThreadRole("fault/a-machine-with-a-long-name", ThreadRole::kFault);
    EXPECT_EQ(OwnName(), "fault/a-machine");
  });
}

TEST(EnterThreadRole, FaultsComeBeforeCompression) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root, to raise a priority";
  const auto nice_of = [](ThreadRole role) {
    int nice = 0;
    OnAThread([&] {
      EnterThreadRole("x", role);
      nice = OwnNice();
    });
    return nice;
  };
  EXPECT_EQ(nice_of(ThreadRole::kFault), -20);
  EXPECT_EQ(nice_of(ThreadRole::kUrgentReclaim), 0);
  EXPECT_GT(nice_of(ThreadRole::kReclaim), 0);
  EXPECT_EQ(OwnNice(), 0) << "of this thread only";
}

// As a fault thread in a read of a userfaultfd that QEMU has made blocking.
TEST(InterruptAndJoin, EndsAThreadThatBlocksInARead) {
  int pipe_fds[2];
  ASSERT_EQ(pipe(pipe_fds), 0);
  std::atomic<bool> ended{false};
  bool interrupted = false;
  std::thread thread([&] {
    char byte;
    interrupted = read(pipe_fds[0], &byte, 1) < 0 && errno == EINTR;
    ended.store(true);
  });
  InterruptAndJoin(thread, ended);
  EXPECT_TRUE(interrupted);
  EXPECT_FALSE(thread.joinable());
  close(pipe_fds[0]);
  close(pipe_fds[1]);
}

TEST(InterruptAndJoin, ThreadThatNeverStartedIsNoProblem) {
  std::thread thread;
  const std::atomic<bool> ended{false};
  InterruptAndJoin(thread, ended);
}

TEST(FileLimit, IsRaisedToTheHardLimit) {
  rlimit limit;
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  limit.rlim_cur = 100;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
  EXPECT_EQ(FileLimit(), 100u);
  RaiseFileLimit();
  EXPECT_EQ(FileLimit(), limit.rlim_max);
}

// Exit codes of the child say what was wrong.
TEST(ProtectDaemon, MemoryIsLockedAndTheProcessIsKilledLast) {
#if defined(ABSL_HAVE_ADDRESS_SANITIZER) || defined(ABSL_HAVE_THREAD_SANITIZER)
  GTEST_SKIP() << "sanitizers make nothing of mlockall()";
#endif
  if (geteuid() != 0) GTEST_SKIP() << "needs root";
  const pid_t child = fork();
  if (child == 0) {
    const absl::Status status = ProtectDaemon();
    if (StatusBytes(getpid(), "VmLck").value_or(0) == 0) _exit(1);
    // A container may lack CAP_SYS_RESOURCE: then the error says what could not be set.
    const bool last = ReadFile("/proc/self/oom_score_adj") == "-1000\n";
    const bool said = status.message().find("oom_score_adj") != std::string::npos;
    _exit(status.ok() ? (last ? 0 : 2) : (said ? 0 : 3));
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace
}  // namespace ebb
