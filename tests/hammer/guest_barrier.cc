// SPDX-License-Identifier: MIT
#include "tests/hammer/guest_barrier.h"

#include <utility>

#include "hostd/os/thread.h"

namespace ebb::hammer {

GuestBarrier::GuestBarrier(Guest* guest, std::function<void()> completed)
    : guest_(guest), completed_(std::move(completed)), thread_([this] { Run(); }) {}

GuestBarrier::~GuestBarrier() {
  stopping_ = true;
  wanted_.Set();
  thread_.join();
}

void GuestBarrier::Request(bool) { wanted_.Set(); }

IoBarrierStatus GuestBarrier::Status() {
  IoBarrierStatus status;
  status.mode = "guest";
  status.count = count_;
  return status;
}

void GuestBarrier::Run() {
  EnterThreadRole("barrier/hammer", ThreadRole::kFault);
  while (!stopping_) {
    WaitReadable(wanted_.fd(), wanted_, -1);
    wanted_.Clear();
    if (stopping_) return;
    const int64_t started_ns = NowNs();
    if (!guest_->AwaitInFlight()) return;
    safe_before_ns_ = started_ns;
    ++count_;
    completed_();
  }
}

}  // namespace ebb::hammer
