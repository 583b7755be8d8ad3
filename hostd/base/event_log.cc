// SPDX-License-Identifier: MIT
#include "hostd/base/event_log.h"

#include <algorithm>
#include <utility>

#include "hostd/base/wall_time.h"

namespace ebb {
namespace {

// Terminals obey control characters, those of Latin-1 (C2 80 to C2 9F in UTF-8) among them.
std::string Printable(std::string text) {
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte < ' ' || byte == 0x7f) text[i] = '?';
    if (byte == 0xc2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xa0) {
      text.replace(i, 2, "?");
    }
  }
  return text;
}

std::string CutOff(std::string text, size_t bytes) {
  if (text.size() <= bytes) return text;
  text.resize(bytes);
  return text + "...";
}

}  // namespace

const char* EventKindName(EventKind kind) {
  switch (kind) {
    case EventKind::kVmAttached:
      return "vm_attached";
    case EventKind::kAttachRefused:
      return "attach_refused";
    case EventKind::kVmExited:
      return "vm_exited";
    case EventKind::kDetachBegun:
      return "detach_begun";
    case EventKind::kDetachFailed:
      return "detach_failed";
    case EventKind::kVmDetached:
      return "vm_detached";
    case EventKind::kRamChanged:
      return "ram_changed";
    case EventKind::kVmHeld:
      return "vm_held";
    case EventKind::kVmNoLongerHeld:
      return "vm_no_longer_held";
    case EventKind::kOpenRefused:
      return "open_refused";
    case EventKind::kLimitChanged:
      return "limit_changed";
    case EventKind::kGuaranteeChanged:
      return "guarantee_changed";
    case EventKind::kWeightChanged:
      return "weight_changed";
    case EventKind::kSwapOutAsked:
      return "swap_out_asked";
    case EventKind::kSwapInAsked:
      return "swap_in_asked";
    case EventKind::kDetachAsked:
      return "detach_asked";
    case EventKind::kAttachAsked:
      return "attach_asked";
    case EventKind::kBudgetChanged:
      return "budget_changed";
    case EventKind::kBudgetShort:
      return "budget_short";
    case EventKind::kBudgetHolds:
      return "budget_holds";
    case EventKind::kTierTrouble:
      return "tier_trouble";
    case EventKind::kTierRecovered:
      return "tier_recovered";
    case EventKind::kStopRequested:
      return "stop_requested";
    case EventKind::kStopRefused:
      return "stop_refused";
  }
  return "?";
}

void EventLog::Add(EventKind kind, const std::string& vm, const std::string& message) {
  Event event;
  event.vm = Printable(CutOff(vm, kMaxMessageBytes));
  event.kind = kind;
  event.message = Printable(CutOff(message, kMaxMessageBytes));
  MutexLock lock(mutex_);
  event.seq = ++last_seq_;
  event.time_ms = WallTimeMs();
  events_.push_back(std::move(event));
  if (events_.size() > kKept) events_.pop_front();
}

EventBatch EventLog::After(uint64_t seq) const {
  EventBatch batch;
  MutexLock lock(mutex_);
  batch.next = last_seq_;
  if (seq >= last_seq_) return batch;
  const uint64_t first_kept = events_.front().seq;
  const uint64_t first = std::max(seq + 1, first_kept);
  batch.lost = first - (seq + 1);
  const auto begin = events_.begin() + static_cast<ptrdiff_t>(first - first_kept);
  const auto count = std::min<ptrdiff_t>(events_.end() - begin, kMaxBatch);
  batch.events.assign(begin, begin + count);
  batch.next = batch.events.back().seq;
  return batch;
}

}  // namespace ebb
