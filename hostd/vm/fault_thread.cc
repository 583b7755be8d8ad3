// SPDX-License-Identifier: MIT
#include "hostd/vm/fault_thread.h"

#include <utility>

#include "hostd/base/clock.h"
#include "hostd/os/thread.h"

namespace ebb {

FaultThread::FaultThread(std::string name, const FaultServer::Parts& parts,
                         std::unique_ptr<DiskQueue> reads)
    : name_(std::move(name)), memory_(parts.memory), server_(parts, std::move(reads)) {}

void FaultThread::Start() {
  thread_ = std::thread([this] {
    Run();
    ended_.store(true);
  });
}

void FaultThread::Stop() {
  stopping_.store(true);
  stop_event_.Set();
  InterruptAndJoin(thread_, ended_);
}

void FaultThread::Run() {
  EnterThreadRole(("fault/" + name_).c_str(), ThreadRole::kFault);
  while (!stopping_.load(std::memory_order_relaxed)) {
    if (server_.ServePending(MonotonicNs())) continue;
    WaitReadable(memory_->message_fd(), stop_event_, server_.UntilNextDue(MonotonicNs()),
                 server_.reads_fd());
  }
}

}  // namespace ebb
