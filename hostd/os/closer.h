// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <thread>
#include <vector>

#include "hostd/base/mutex.h"
#include "hostd/base/unique_fd.h"

namespace ebb {

// Closes descriptors that others gave us, on a thread of its own: such a close may wait for as long
// as they like (a TCP socket that lingers, a file of their own FUSE). Thread-safe.
class Closer {
 public:
  Closer();
  // Interrupts the close that is under way, and waits for the rest.
  ~Closer();
  Closer(const Closer&) = delete;
  Closer& operator=(const Closer&) = delete;

  // In this order: a connection comes after the descriptors that were received from it.
  void Close(std::vector<UniqueFd> fds);
  // How many are not closed yet.
  size_t waiting() const { return waiting_.load(); }

 private:
  void Run();

  Mutex mutex_{"Closer::mutex_"};
  CondVar changed_;
  std::vector<UniqueFd> fds_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::atomic<size_t> waiting_{0};
  std::atomic<bool> ended_{false};
  std::thread thread_;
};

}  // namespace ebb
