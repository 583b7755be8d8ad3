// SPDX-License-Identifier: MIT
#include "hostd/vm/mover.h"

#include <algorithm>
#include <span>
#include <utility>

#include "hostd/os/thread.h"

namespace ebb {
namespace {

// Batches of up to 64 pages: enough that the mover never idles while reclaim compresses.
constexpr size_t kMaxBatches = 8;
// Pages looked at, and pages swapped in, before the mover looks at its queue again.
constexpr uint64_t kScanStepPages = 16 * 1024;
constexpr uint64_t kBringBackStepPages = 32;

}  // namespace

Mover::Mover(std::string name, GuestMemory* memory, SwapState* state, Residency* residency)
    : name_(std::move(name)),
      memory_(memory),
      state_(state),
      residency_(residency),
      swap_in_(memory, state) {}

void Mover::Start() {
  thread_ = std::thread([this] { Run(); });
}

void Mover::Stop() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
  }
  changed_.NotifyAll();
  if (thread_.joinable()) thread_.join();
}

void Mover::Submit(std::vector<StoredPage> drop, std::vector<ClaimedPage> give_back) {
  MutexLock lock(mutex_);
  while (batches_.size() >= kMaxBatches && !stopping_) changed_.Wait(mutex_);
  batches_.push_back({std::move(drop), std::move(give_back)});
  changed_.NotifyAll();
}

void Mover::BringBack(uint64_t until_resident) {
  MutexLock lock(mutex_);
  bring_back_ = BringBackState::kRunning;
  until_resident_ = until_resident;
  cursor_ = {0};
  changed_.NotifyAll();
}

void Mover::CancelBringBack() {
  MutexLock lock(mutex_);
  bring_back_ = BringBackState::kNone;
}

Mover::BringBackState Mover::bring_back_state() const {
  MutexLock lock(mutex_);
  return bring_back_;
}

bool Mover::Idle() const {
  MutexLock lock(mutex_);
  return batches_.empty() && !busy_;
}

void Mover::Run() {
  EnterThreadRole(("mover/" + name_).c_str(), ThreadRole::kFault);
  for (;;) {
    std::optional<Batch> batch;
    PageIndex cursor;
    uint64_t until_resident;
    {
      MutexLock lock(mutex_);
      while (batches_.empty() && bring_back_ != BringBackState::kRunning && !stopping_) {
        changed_.Wait(mutex_);
      }
      if (stopping_) return;
      if (!batches_.empty()) {
        batch = std::move(batches_.front());
        batches_.pop_front();
        busy_ = true;
      }
      cursor = cursor_;
      until_resident = until_resident_;
    }
    if (batch) {
      Finish(*batch);
      MutexLock lock(mutex_);
      busy_ = false;
      changed_.NotifyAll();
      continue;
    }
    const BringBackState now = BringBackStep(&cursor, until_resident);
    MutexLock lock(mutex_);
    // A request that came meanwhile starts from its own beginning.
    if (bring_back_ == BringBackState::kRunning && until_resident_ == until_resident) {
      bring_back_ = now;
      cursor_ = cursor;
    }
  }
}

void Mover::Finish(const Batch& batch) {
  for (size_t done = 0; done < batch.drop.size(); done += kDropBatchPages) {
    const size_t count = std::min(kDropBatchPages, batch.drop.size() - done);
    const size_t dropped = DropPages(memory_, state_, std::span(batch.drop).subspan(done, count));
    residency_->Add(-static_cast<int64_t>(dropped));
  }
  GivePagesBack(memory_, state_, batch.give_back);
}

Mover::BringBackState Mover::BringBackStep(PageIndex* cursor, uint64_t until_resident) {
  uint64_t swapped_in = 0;
  for (uint64_t scanned = 0; scanned < kScanStepPages && swapped_in < kBringBackStepPages;) {
    if (cursor->value >= memory_->pages()) {
      if (state_->stats().lost_pages > 0) return BringBackState::kLost;
      return BringBackState::kDone;
    }
    const PageWord word = state_->words().Load(*cursor);
    if (word.state() == PageState::kSwapped) {
      if (residency_->resident() >= until_resident) return BringBackState::kAtLimit;
      const PageOutcome outcome = swap_in_.Run(*cursor, word);
      if (outcome == PageOutcome::kNoMemory) return BringBackState::kNoMemory;
      // The same page again once the fault thread has read what is pending.
      if (outcome == PageOutcome::kRetry || outcome == PageOutcome::kChanged) {
        return BringBackState::kRunning;
      }
      ++swapped_in;
      residency_->Add(1);
    }
    ++scanned;
    *cursor = *cursor + 1;
  }
  return BringBackState::kRunning;
}

}  // namespace ebb
