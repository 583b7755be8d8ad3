// SPDX-License-Identifier: MIT
#include "hostd/swap/fault_server.h"

#include <algorithm>

#include "hostd/base/clock.h"
#include "hostd/base/test_points.h"
#include "hostd/base/wait_checks.h"
#include "hostd/swap/discard.h"

namespace ebb {
namespace {

constexpr size_t kMessagesPerRead = 16;
// QEMU was released by our read of its event; it needs a moment to finish its madvise.
constexpr int64_t kFirstRetryNs = 20 * kNsPerUs;
constexpr int64_t kMaxRetryNs = kNsPerMs;
constexpr int64_t kNoMemoryRetryNs = 2 * kNsPerMs;
// A VM that is at its limit with an empty reserve is paced this long a fault at most.
constexpr int64_t kMaxPaceNs = 10 * kNsPerMs;
constexpr int64_t kPaceStepNs = kNsPerMs;
constexpr int64_t kFirstLostRetryNs = kNsPerS;
constexpr int64_t kMaxLostRetryNs = 30 * kNsPerS;
// Neighbours of a first touch that get zero pages with it.
constexpr uint64_t kFillAheadPages = 15;
// A block holds no more near pages than this, but for tiny ones.
constexpr uint64_t kMaxReadAheadPages = 128;

}  // namespace

bool FaultServer::ServePending(int64_t now_ns) {
  const FaultPath fault_path;
  std::array<GuestMessage, kMessagesPerRead> messages;
  size_t count = 0;
  DiscardOrder& discard_order = parts_.state->discard_order();
  discard_order.BeginRead();
  parts_.memory->ReadMessages(messages, &count);
  // In the order they were read: a discard must not run after a later fault of its pages.
  for (size_t i = 0; i < count; ++i) Handle(messages[i], now_ns);
  discard_order.EndRead();
  const bool read = FinishReads(now_ns);
  if (aside_count_ > 0) ServeDue(now_ns);
  return count > 0 || read;
}

void FaultServer::Handle(const GuestMessage& message, int64_t now_ns) {
  EBB_TEST_POINT("serve.message");
  switch (message.kind) {
    case FaultMessage::Kind::kRemove:
      DiscardPages(parts_.memory, parts_.state, message.range);
      return;
    case FaultMessage::Kind::kUnknown:
      return;
    case FaultMessage::Kind::kWriteProtect:
      Count(parts_.state->stats().write_protect_faults);
      break;
    case FaultMessage::Kind::kMissing:
      break;
  }
  Count(parts_.state->stats().faults);
  Fault fault;
  fault.page = message.range.first;
  fault.kind = message.kind;
  fault.read_ns = now_ns;
  // Somebody waits for this page already, and is served together with whoever sent this message.
  const auto aside_end = aside_.begin() + static_cast<ptrdiff_t>(aside_count_);
  const auto aside = std::find_if(aside_.begin(), aside_end,
                                  [&](const Fault& other) { return other.page == fault.page; });
  if (aside == aside_end) {
    Serve(fault, now_ns);
  } else if (aside->backoff_ns >= kFirstLostRetryNs &&
             (parts_.state->disk() == nullptr ||
              parts_.state->words().Load(fault.page).state() != PageState::kLost)) {
    // Something woke its threads: maybe the page can be had now. Where there is a disk, that it was
    // tried once more is no reason: each try takes as long as the disk does, and wakes them again.
    aside->due_ns = now_ns;
  }
}

void FaultServer::Serve(Fault fault, int64_t now_ns) {
  EBB_TEST_POINT("serve.fault");
  const PageState state = parts_.state->words().Load(fault.page).state();
  const bool swapped = state == PageState::kSwapped || state == PageState::kLost;
  const uint64_t zero_filled_before = parts_.state->stats().zero_filled;
  if (Pace(&fault, swapped, now_ns)) return;
  const bool grows = swapped || fault.kind == FaultMessage::Kind::kMissing;
  if (grows && MustLeaveRoom(now_ns)) {
    AwaitMemory(fault, now_ns);
    return;
  }
  const PageOutcome outcome = handler_.Handle(fault.page, fault.kind);
  if (outcome == PageOutcome::kReading) {
    // There is a place for each read that can be under way.
    reading_[reading_count_++] = fault;
  } else if (outcome != PageOutcome::kServed) {
    Finish(fault, outcome, now_ns);
  } else if (swapped) {
    NoteSwappedIn(fault);
  } else {
    NoteZeroFilled(fault, zero_filled_before);
  }
}

// What is to be done with a fault that could not be answered at once.
void FaultServer::Finish(const Fault& fault, PageOutcome outcome, int64_t now_ns) {
  switch (outcome) {
    case PageOutcome::kServed:
    case PageOutcome::kReading:
    case PageOutcome::kGone:
      return;
    case PageOutcome::kNotMapped:
      // Nobody can be waiting there; if somebody is after all, it asks again.
      parts_.memory->Wake({fault.page, 1});
      return;
    case PageOutcome::kRetry:
    case PageOutcome::kChanged:
      PutAsideLonger(fault, kFirstRetryNs, kMaxRetryNs, now_ns);
      return;
    case PageOutcome::kNoMemory:
      BeginShortage(now_ns);
      AwaitMemory(fault, now_ns);
      return;
    case PageOutcome::kLost:
      parts_.reclaim->Ring();  // it has a loss to report
      [[fallthrough]];
    case PageOutcome::kFailed:
      PutAsideLonger(fault, kFirstLostRetryNs, kMaxLostRetryNs, now_ns);
      return;
  }
}

void FaultServer::BeginShortage(int64_t now_ns) {
  const SwapStats& stats = parts_.state->stats();
  shortage_.Begin(stats.swapped_out, stats.swapped_in + stats.zero_filled, now_ns);
}

bool FaultServer::MustLeaveRoom(int64_t now_ns) {
  const SwapStats& stats = parts_.state->stats();
  return shortage_.MustWait(stats.swapped_out, stats.swapped_in + stats.zero_filled, now_ns);
}

// Reclaim makes room by what is ready to be dropped, and if that is not enough it is asked again.
void FaultServer::AwaitMemory(Fault fault, int64_t now_ns) {
  if (!fault.no_memory) Count(parts_.state->stats().no_memory);
  fault.no_memory = true;
  parts_.residency->NoteNoMemory();
  parts_.reclaim->Ring();
  PutAside(fault, now_ns + kNoMemoryRetryNs);
}

// True when the disk has answered some.
bool FaultServer::FinishReads(int64_t now_ns) {
  bool any = false;
  while (reading_count_ > 0) {
    // What nobody asked for must not cost what somebody else needs.
    const Residency& residency = *parts_.residency;
    const bool read_ahead =
        !shortage_.lasts() && residency.resident() + kMaxReadAheadPages < residency.target();
    const std::optional<SwapIn::ReadPage> done = handler_.NextRead(read_ahead);
    if (!done) break;
    any = true;
    const auto end = reading_.begin() + static_cast<ptrdiff_t>(reading_count_);
    const auto found = std::find_if(reading_.begin(), end,
                                    [&](const Fault& fault) { return fault.page == done->page; });
    const Fault fault = *found;
    *found = reading_[--reading_count_];
    parts_.residency->Add(static_cast<int64_t>(done->read_ahead_pages));
    if (done->outcome == PageOutcome::kServed) {
      NoteSwappedIn(fault);
    } else {
      Finish(fault, done->outcome, now_ns);
    }
  }
  return any;
}

// True when the fault has been put aside to slow the VM down.
bool FaultServer::Pace(Fault* fault, bool swapped, int64_t now_ns) {
  if (fault->pacing_over) return false;
  const bool began = fault->paced_since_ns != 0;
  const bool grows = swapped || fault->kind == FaultMessage::Kind::kMissing;
  const bool long_enough = began && now_ns - fault->paced_since_ns >= kMaxPaceNs;
  if (grows && !long_enough && parts_.residency->MustPace()) {
    if (!began) {
      fault->paced_since_ns = now_ns;
      Count(parts_.state->stats().paced_faults);
    }
    parts_.reclaim->Ring();
    PutAside(*fault, now_ns + kPaceStepNs);
    return true;
  }
  fault->pacing_over = true;
  if (began) {
    Count(parts_.state->stats().paced_ns, static_cast<uint64_t>(now_ns - fault->paced_since_ns));
  }
  return false;
}

void FaultServer::NoteSwappedIn(const Fault& fault) {
  parts_.state->stats().fault_latency.Add(MonotonicNs() - fault.read_ns);
  parts_.residency->Add(1);
  RingIfAbove();
}

void FaultServer::NoteZeroFilled(const Fault& fault, uint64_t zero_filled_before) {
  Residency& residency = *parts_.residency;
  if (parts_.state->stats().zero_filled != zero_filled_before) {
    Count(parts_.state->stats().zero_faults);
    if (!residency.MustPace() && !shortage_.lasts())
      handler_.FillAhead(fault.page, kFillAheadPages);
    const uint64_t filled = parts_.state->stats().zero_filled - zero_filled_before;
    residency.Add(static_cast<int64_t>(filled));
  }
  RingIfAbove();
}

void FaultServer::RingIfAbove() const {
  const Residency& residency = *parts_.residency;
  if (residency.resident() > residency.target()) parts_.reclaim->Ring();
}

void FaultServer::PutAside(Fault fault, int64_t due_ns) {
  if (aside_count_ == aside_.size()) {
    parts_.memory->Wake({fault.page, 1});
    return;
  }
  fault.due_ns = due_ns;
  aside_[aside_count_++] = fault;
}

// Twice as long as the last time.
void FaultServer::PutAsideLonger(Fault fault, int64_t first_ns, int64_t max_ns, int64_t now_ns) {
  fault.backoff_ns = std::clamp(fault.backoff_ns * 2, first_ns, max_ns);
  PutAside(fault, now_ns + fault.backoff_ns);
}

void FaultServer::ServeDue(int64_t now_ns) {
  // Serving may put faults aside again: at the end, behind those still to be looked at.
  const size_t waiting = aside_count_;
  std::array<Fault, 256> due;
  size_t due_count = 0;
  size_t kept = 0;
  for (size_t i = 0; i < waiting; ++i) {
    if (aside_[i].due_ns <= now_ns) {
      due[due_count++] = aside_[i];
    } else {
      aside_[kept++] = aside_[i];
    }
  }
  aside_count_ = kept;
  for (size_t i = 0; i < due_count; ++i) Serve(due[i], now_ns);
}

int64_t FaultServer::UntilNextDue(int64_t now_ns) const {
  if (aside_count_ == 0 && reading_count_ == 0) return -1;
  // While the disk is asked for something it is looked at now and then: it may not answer at all.
  int64_t next = reading_count_ > 0 ? now_ns + kNsPerS : INT64_MAX;
  for (size_t i = 0; i < aside_count_; ++i) next = std::min(next, aside_[i].due_ns);
  return std::max<int64_t>(0, next - now_ns);
}

}  // namespace ebb
