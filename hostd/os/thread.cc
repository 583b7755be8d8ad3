// SPDX-License-Identifier: MIT
#include "hostd/os/thread.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <csignal>
#include <cstdint>
#include <ctime>
#include <string>

#include "hostd/base/unique_fd.h"
#include "hostd/base/units.h"
#include "hostd/base/wait_checks.h"
#include "hostd/os/os_result.h"

namespace ebb {
namespace {

// Not SCHED_FIFO: unpinned it is pushed to an idle CPU and costs 68 us a fault instead of 10.
constexpr int kFaultNice = -20;
constexpr size_t kMaxNameBytes = 15;  // TASK_COMM_LEN without the NUL
constexpr int kReclaimNice = 10;
constexpr int kUrgentReclaimNice = 0;

int NiceOf(ThreadRole role) {
  switch (role) {
    case ThreadRole::kFault:
      return kFaultNice;
    case ThreadRole::kReclaim:
      return kReclaimNice;
    case ThreadRole::kUrgentReclaim:
      return kUrgentReclaimNice;
  }
  return 0;
}

}  // namespace

void EnterThreadRole(const char* name, ThreadRole role) {
  pthread_setname_np(pthread_self(), std::string(name).substr(0, kMaxNameBytes).c_str());
  const auto tid = static_cast<id_t>(syscall(SYS_gettid));
  setpriority(PRIO_PROCESS, tid, NiceOf(role));
}

void InterruptAndJoin(std::thread& thread, const std::atomic<bool>& ended) {
  if (!thread.joinable()) return;
  constexpr int kInterrupt = SIGURG;  // ignored by default, so a late one does no harm
  struct sigaction action = {};
  action.sa_handler = [](int) {};  // without SA_RESTART: the read fails and the thread looks up
  sigaction(kInterrupt, &action, nullptr);
  MayWait("for a thread to end");
  while (!ended.load()) {
    pthread_kill(thread.native_handle(), kInterrupt);
    std::this_thread::yield();
  }
  // style-ok(wait): it has ended
  thread.join();
}

void RaiseFileLimit() {
  rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

uint64_t FileLimit() {
  rlimit limit;
  return getrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : 1024;
}

absl::Status ProtectDaemon() {
  // With autogroups nice counts only inside a session; this gives ebbd's session the weight too.
  // Measured on a busy host: the fault thread waited for a CPU half as long. Absent in some
  // kernels.
  MayWait("for /proc");
  const UniqueFd autogroup(open("/proc/self/autogroup", O_WRONLY | O_CLOEXEC));
  if (autogroup.valid()) {
    const std::string nice = std::to_string(kFaultNice);
    [[maybe_unused]] ssize_t written = write(autogroup.get(), nice.data(), nice.size());
  }
  // ONFAULT: the pool's mapping is as large as the VM and filled only as far as it is used.
  if (mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) != 0) return ErrnoStatus("mlockall");
  MayWait("for /proc");
  UniqueFd adjust(open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC));
  if (!adjust.valid() || write(adjust.get(), "-1000", 5) != 5) {
    return ErrnoStatus("setting oom_score_adj to -1000");
  }
  return absl::OkStatus();
}

}  // namespace ebb
