// SPDX-License-Identifier: MIT
#include "hostd/os/closer.h"

#include <sys/socket.h>

#include <iterator>
#include <utility>

#include "hostd/os/thread.h"

namespace ebb {

Closer::Closer() {
  thread_ = std::thread([this] {
    Run();
    ended_.store(true);
  });
}

Closer::~Closer() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
  }
  changed_.NotifyAll();
  InterruptAndJoin(thread_, ended_);
}

void Closer::Close(std::vector<UniqueFd> fds) {
  if (fds.empty()) return;
  waiting_ += fds.size();
  {
    MutexLock lock(mutex_);
    fds_.insert(fds_.end(), std::make_move_iterator(fds.begin()),
                std::make_move_iterator(fds.end()));
  }
  changed_.NotifyAll();
}

void Closer::Run() {
  EnterThreadRole("closer", ThreadRole::kUrgentReclaim);
  for (;;) {
    std::vector<UniqueFd> fds;
    {
      MutexLock lock(mutex_);
      while (fds_.empty() && !stopping_) changed_.Wait(mutex_);
      if (fds_.empty()) return;
      fds = std::exchange(fds_, {});
    }
    for (UniqueFd& fd : fds) {
      // Where this fails it is no socket.
      const linger off = {};
      setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &off, sizeof off);
      fd.Reset();
      --waiting_;
    }
  }
}

}  // namespace ebb
