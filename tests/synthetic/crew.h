// SPDX-License-Identifier: MIT
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "hostd/base/mutex.h"
#include "tests/synthetic/worker.h"

namespace ebb::synthetic {

// The threads that work on guest memory, one for each worker. Thread-safe.
class Crew {
 public:
  enum class Order { kFill, kHammer, kVerify, kPause };

  // Starts the threads, with kFill. They are never ended: the process ends with them.
  explicit Crew(std::vector<std::unique_ptr<Worker>> workers);

  void Give(Order order);
  // Waits until every worker has finished the last order (kHammer never ends).
  bool AwaitDone(int seconds);

  // The workers that have been at one thing for longer than `ns`.
  struct Stuck {
    uint64_t page;
    std::string what;
  };
  std::vector<Stuck> StuckFor(int64_t ns) const;
  int64_t LongestNs() const;
  // Linux's ids of the threads.
  std::vector<pid_t> thread_ids() const;

 private:
  struct Thread {
    std::unique_ptr<Worker> worker;
    std::atomic<pid_t> id{0};
    std::thread thread;
  };

  void Run(Thread* self);
  void Do(Order order, Worker* worker, uint64_t number);

  std::vector<std::unique_ptr<Thread>> threads_;  // constant after construction
  std::atomic<uint64_t> order_number_{1};

  mutable Mutex mutex_;
  CondVar changed_;
  Order order_ ABSL_GUARDED_BY(mutex_) = Order::kFill;
  size_t done_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace ebb::synthetic
