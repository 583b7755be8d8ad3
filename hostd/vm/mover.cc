// SPDX-License-Identifier: MIT
#include "hostd/vm/mover.h"

#include <algorithm>
#include <chrono>
#include <span>
#include <utility>

#include "hostd/base/wait_checks.h"
#include "hostd/os/process.h"
#include "hostd/os/thread.h"
#include "hostd/swap/discard.h"
#include "hostd/swap/reclaim.h"

namespace ebb {
namespace {

// Enough that the mover never idles while reclaim compresses.
constexpr size_t kMaxBatches = 8;
// Queued, in the mover's hands, and being added by reclaim.
static_assert((kMaxBatches + 2) * Reclaim::kCohortPages <= Reclaim::kMaxTakenTooMuch);
// Pages looked at, and pages swapped in, before the mover looks at its queue again.
constexpr uint64_t kBringBackScanPages = 16 * 1024;
constexpr uint64_t kBringBackStepPages = 256;
constexpr int64_t kPauseNs = kNsPerMs;
// What a bring-back leaves of the host's memory.
constexpr uint64_t kMemoryMarginBytes = 128 * kMiB;

}  // namespace

Mover::Mover(std::string name, GuestMemory* memory, SwapState* state, Residency* residency,
             std::unique_ptr<DiskQueue> reads)
    : name_(std::move(name)),
      memory_(memory),
      state_(state),
      residency_(residency),
      swap_in_(memory, state, std::move(reads)) {}

void Mover::Start() {
  thread_ = std::thread([this] { Run(); });
}

void Mover::Stop() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
  }
  changed_.NotifyAll();
  MayWait("for the mover to end");
  if (thread_.joinable()) thread_.join();
}

void Mover::Submit(std::vector<StoredPage> drop, std::vector<ClaimedPage> give_back) {
  MayWait("for the mover to take a batch");
  MutexLock lock(mutex_);
  while (batches_.size() >= kMaxBatches && !stopping_) changed_.Wait(mutex_);
  batches_.push_back({std::move(drop), std::move(give_back)});
  changed_.NotifyAll();
}

void Mover::BringBack(uint64_t until_resident) {
  SetBringBack(BringBackState::kRunning, until_resident);
}

void Mover::AskForBringBack(uint64_t until_resident) {
  SetBringBack(BringBackState::kAsked, until_resident);
}

void Mover::BeginBringBack() {
  MutexLock lock(mutex_);
  if (bring_back_ != BringBackState::kAsked) return;
  bring_back_ = BringBackState::kRunning;
  changed_.NotifyAll();
}

void Mover::SetBringBack(BringBackState state, uint64_t until_resident) {
  MutexLock lock(mutex_);
  bring_back_ = state;
  const uint64_t request = progress_.request + 1;
  progress_ = {};
  progress_.request = request;
  progress_.until_resident = until_resident;
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
    Progress progress;
    bool bring_back;
    {
      MutexLock lock(mutex_);
      while (batches_.empty() && bring_back_ != BringBackState::kRunning && !stopping_) {
        if (swap_in_.reads_in_flight() > 0) {
          changed_.WaitFor(mutex_, std::chrono::nanoseconds(kPauseNs));
          break;
        }
        changed_.Wait(mutex_);
      }
      if (stopping_) return;
      if (!batches_.empty()) {
        batch = std::move(batches_.front());
        batches_.pop_front();
        busy_ = true;
      }
      bring_back = bring_back_ == BringBackState::kRunning;
      progress = progress_;
      progress.pause = false;
    }
    EndReads(&progress);
    BringBackState state = BringBackState::kRunning;
    if (batch) {
      Finish(*batch);
      MutexLock lock(mutex_);
      busy_ = false;
      changed_.NotifyAll();
    } else if (bring_back) {
      state = BringBackStep(&progress);
    }
    if (bring_back) FinishStep(progress, state);
  }
}

void Mover::FinishStep(const Progress& progress, BringBackState state) {
  MutexLock lock(mutex_);
  // A request that came meanwhile starts from its own beginning, and a cancelled one stays so.
  if (bring_back_ != BringBackState::kRunning || progress_.request != progress.request) return;
  bring_back_ = state;
  progress_ = progress;
  if (progress.pause) changed_.WaitFor(mutex_, std::chrono::nanoseconds(kPauseNs));
}

void Mover::Finish(const Batch& batch) {
  for (size_t done = 0; done < batch.drop.size(); done += kDropBatchPages) {
    const size_t count = std::min(kDropBatchPages, batch.drop.size() - done);
    const size_t dropped = DropPages(memory_, state_, std::span(batch.drop).subspan(done, count));
    residency_->Add(-static_cast<int64_t>(dropped));
  }
  GivePagesBack(memory_, state_, batch.give_back);
}

Mover::BringBackState Mover::BringBackStep(Progress* progress) {
  // Filling a page when the host is full calls the OOM killer: it hardly ever just fails.
  if (progress->no_memory || HostAvailableBytes() < kMemoryMarginBytes) {
    return BringBackState::kNoMemory;
  }
  uint64_t swapped_in = 0;
  for (uint64_t scanned = 0; scanned < kBringBackScanPages && swapped_in < kBringBackStepPages;) {
    const PageIndex page = progress->cursor;
    if (page.value >= memory_->pages()) return EndRound(progress);
    const PageWord word = state_->words().Load(page);
    if (word.state() == PageState::kSwapped || word.state() == PageState::kLost) {
      // The limit may have fallen since it was asked for.
      if (residency_->resident() >= std::min(progress->until_resident, residency_->target())) {
        return BringBackState::kAtLimit;
      }
      switch (swap_in_.Run(page, word)) {
        case PageOutcome::kServed:
          residency_->Add(1);
          break;
        case PageOutcome::kReading:
          break;
        case PageOutcome::kChanged:
          return BringBackState::kRunning;
        case PageOutcome::kRetry:
          // The same page again once the fault thread has read what is pending, or the disk has
          // answered.
          progress->pause = true;
          return BringBackState::kRunning;
        case PageOutcome::kNoMemory:
          return BringBackState::kNoMemory;
        case PageOutcome::kNotMapped:
          // QEMU took this RAM away from the guest for good.
          TryDiscard(memory_, state_, page, word);
          break;
        case PageOutcome::kLost:
        case PageOutcome::kFailed:
        case PageOutcome::kGone:
          ++progress->failed_pages;
          break;
      }
      ++swapped_in;
    }
    ++scanned;
    progress->cursor = page + 1;
  }
  return BringBackState::kRunning;
}

// All pages have been looked at.
Mover::BringBackState Mover::EndRound(Progress* progress) {
  if (swap_in_.reads_in_flight() > 0) {
    progress->pause = true;
    return BringBackState::kRunning;
  }
  if (progress->again) {
    progress->again = false;
    progress->cursor = {};
    return BringBackState::kRunning;
  }
  return progress->failed_pages > 0 ? BringBackState::kFailed : BringBackState::kDone;
}

void Mover::EndReads(Progress* progress) {
  constexpr bool kReadAhead = true;  // who brings everything back wants the neighbours, too
  while (const std::optional<SwapIn::ReadPage> read = swap_in_.NextRead(kReadAhead)) {
    residency_->Add(static_cast<int64_t>(read->read_ahead_pages));
    switch (read->outcome) {
      case PageOutcome::kServed:
        residency_->Add(1);
        break;
      case PageOutcome::kReading:
      case PageOutcome::kChanged:
      case PageOutcome::kRetry:
        progress->again = true;
        break;
      case PageOutcome::kNoMemory:
        progress->no_memory = true;
        break;
      case PageOutcome::kNotMapped:
        TryDiscard(memory_, state_, read->page, state_->words().Load(read->page));
        break;
      case PageOutcome::kLost:
      case PageOutcome::kFailed:
      case PageOutcome::kGone:
        ++progress->failed_pages;
        break;
    }
  }
}

}  // namespace ebb
