// SPDX-License-Identifier: MIT
#include "hostd/base/wait_checks.h"

#ifdef EBB_WAIT_CHECKS

#include <pthread.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "hostd/base/lock_order.h"

namespace ebb {
namespace {

constinit thread_local CheckedThread current_thread;

}  // namespace

CheckedThread& CheckedThread::Current() { return current_thread; }

void WaitCheckFailed(const char* does, const char* what) {
  const CheckedThread thread = current_thread;
  current_thread = {};  // what follows may do what it likes
  char name[16] = "?";
  pthread_getname_np(pthread_self(), name, sizeof name);
  char why[256];
  if (thread.owned > 0) {
    std::snprintf(why, sizeof why, "while it owns %d pages, the last in %s", thread.owned,
                  thread.owned_state);
  } else if (thread.fault_path > 0) {
    std::snprintf(why, sizeof why, "on the fault path");
  } else if (thread.held > 0) {
    std::snprintf(why, sizeof why, "while it holds %s", thread.locks[thread.held - 1]->name());
  } else {
    std::snprintf(why, sizeof why, "with nothing held or owned");
  }
  char line[512];
  const int length = std::snprintf(line, sizeof line, "WAIT CHECK failed: thread %s %s %s %s\n",
                                   name, does, what, why);
  // style-ok(wait): the daemon ends
  [[maybe_unused]] ssize_t written = write(STDERR_FILENO, line, static_cast<size_t>(length));
  LinkMallocChecks();
  std::abort();
}

void MayWait(const char* what) {
  const CheckedThread& thread = current_thread;
  if (thread.MustNotWait() || thread.held > 0) WaitCheckFailed("waits", what);
}

void NoteOwned(const char* state) {
  ++current_thread.owned;
  current_thread.owned_state = state;
}

void NoteLeft() {
  if (current_thread.owned > 0) {
    --current_thread.owned;
  } else if (!current_thread.stands_in) {
    WaitCheckFailed("leaves", "a page that another thread owns");
  }
}

}  // namespace ebb

#endif
