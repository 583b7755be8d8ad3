// SPDX-License-Identifier: MIT
#include "tests/synthetic/signal_storm.h"

#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <csignal>
#include <ctime>
#include <thread>

#include "hostd/base/units.h"
#include "tests/synthetic/crew.h"

namespace ebb::synthetic {
namespace {

// Each thread gets some dozen signals a second. While a signal waits for a thread that the kernel
// makes wait for a page, Linux does not let it sleep: more signals would take all CPU time.
constexpr int64_t kPauseNs = 2 * kNsPerMs;

void RunStorm(const Crew* crew) {
  sigset_t none;
  sigemptyset(&none);
  const timespec pause = {0, kPauseNs};
  for (;;) {
    for (const pid_t id : crew->thread_ids()) {
      syscall(SYS_tgkill, getpid(), id, SIGUSR1);
      // No signal comes: this is the pace of the storm.
      sigtimedwait(&none, nullptr, &pause);
    }
  }
}

}  // namespace

void StartSignalStorm(const Crew* crew) {
  struct sigaction action = {};
  action.sa_handler = [](int) {};
  action.sa_flags = SA_RESTART;
  sigaction(SIGUSR1, &action, nullptr);
  std::thread([crew] { RunStorm(crew); }).detach();
}

}  // namespace ebb::synthetic
