// SPDX-License-Identifier: MIT
#include "tests/synthetic/crew.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "hostd/base/clock.h"
#include "hostd/base/units.h"

namespace ebb::synthetic {

Crew::Crew(std::vector<std::unique_ptr<Worker>> workers) {
  for (auto& worker : workers) {
    threads_.push_back(std::make_unique<Thread>());
    threads_.back()->worker = std::move(worker);
  }
  for (auto& thread : threads_) {
    thread->thread = std::thread([this, self = thread.get()] { Run(self); });
  }
}

void Crew::Run(Thread* self) {
  self->id = static_cast<pid_t>(syscall(SYS_gettid));
  for (uint64_t done_number = 0;;) {
    Order order;
    uint64_t number;
    {
      MutexLock lock(mutex_);
      while (order_number_ == done_number) changed_.Wait(mutex_);
      order = order_;
      number = order_number_;
    }
    Do(order, self->worker.get(), number);
    done_number = number;
    MutexLock lock(mutex_);
    if (order_number_ == number) ++done_;
    changed_.NotifyAll();
  }
}

void Crew::Do(Order order, Worker* worker, uint64_t number) {
  switch (order) {
    case Order::kFill:
      worker->Fill();
      return;
    case Order::kHammer:
      while (order_number_.load(std::memory_order_relaxed) == number) worker->RunOne();
      return;
    case Order::kVerify:
      worker->VerifyAll();
      return;
    case Order::kPause:
      return;
  }
}

void Crew::Give(Order order) {
  MutexLock lock(mutex_);
  order_ = order;
  done_ = 0;
  ++order_number_;
  changed_.NotifyAll();
}

bool Crew::AwaitDone(int seconds) {
  const int64_t deadline_ns = MonotonicNs() + seconds * kNsPerS;
  MutexLock lock(mutex_);
  while (done_ < threads_.size()) {
    const int64_t left_ns = deadline_ns - MonotonicNs();
    if (left_ns <= 0) return false;
    changed_.WaitFor(mutex_, std::chrono::nanoseconds(left_ns));
  }
  return true;
}

std::vector<Crew::Stuck> Crew::StuckFor(int64_t ns) const {
  std::vector<Stuck> stuck;
  for (size_t i = 0; i < threads_.size(); ++i) {
    const Worker::Progress& progress = threads_[i]->worker->progress();
    const int64_t since_ns = progress.since_ns;
    const int64_t took_ns = MonotonicNs() - since_ns;
    if (since_ns == 0 || took_ns < ns) continue;
    const uint64_t page = progress.page;
    stuck.push_back({page, "worker " + std::to_string(i) + " for " +
                               std::to_string(took_ns / kNsPerMs) + " ms in " +
                               progress.doing.load() + " of page " + std::to_string(page)});
  }
  return stuck;
}

int64_t Crew::LongestNs() const {
  int64_t longest_ns = 0;
  for (const auto& thread : threads_) {
    longest_ns = std::max(longest_ns, thread->worker->progress().longest_ns.load());
  }
  return longest_ns;
}

std::vector<pid_t> Crew::thread_ids() const {
  std::vector<pid_t> ids;
  for (const auto& thread : threads_) {
    if (thread->id != 0) ids.push_back(thread->id);
  }
  return ids;
}

}  // namespace ebb::synthetic
