// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <thread>

#include "hostd/os/guest_memory.h"
#include "hostd/os/wake_event.h"
#include "hostd/swap/fault_server.h"

namespace ebb {

// A VM's fault thread: serves its messages, and waits for nothing but the next one.
class FaultThread {
 public:
  // `reads` may be null where there is no disk.
  FaultThread(std::string name, const FaultServer::Parts& parts,
              std::unique_ptr<DiskQueue> reads = nullptr);
  ~FaultThread() { Stop(); }

  void Start();
  void Stop();

 private:
  void Run();

  const std::string name_;
  GuestMemory* const memory_;
  FaultServer server_;  // fault thread only
  WakeEvent stop_event_;
  std::atomic<bool> stopping_{false};
  std::atomic<bool> ended_{false};
  std::thread thread_;
};

}  // namespace ebb
