// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <functional>
#include <string>
#include <thread>

#include "hostd/os/wake_event.h"
#include "hostd/swap/io_barrier.h"
#include "tests/hammer/guest.h"

namespace ebb::hammer {

// I/O barriers as QMP makes them, but as often as they are asked for: small VMs are to churn.
class GuestBarrier : public IoBarrier {
 public:
  // `completed` is called on the barrier's thread.
  GuestBarrier(Guest* guest, std::function<void()> completed);
  ~GuestBarrier() override;

  int64_t SafeBeforeNs(int64_t) override { return safe_before_ns_; }
  void Request(bool urgent) override;
  int64_t IntervalNs() override { return 0; }
  IoBarrierStatus Status() override;

 private:
  void Run();

  Guest* const guest_;
  const std::function<void()> completed_;
  std::atomic<int64_t> safe_before_ns_{0};
  std::atomic<uint64_t> count_{0};
  std::atomic<bool> stopping_{false};
  WakeEvent wanted_;
  std::thread thread_;
};

}  // namespace ebb::hammer
