// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "hostd/base/mutex.h"

namespace ebb {

enum class EventKind {
  kVmAttached,
  kAttachRefused,
  kVmExited,
  kDetachBegun,
  kDetachFailed,
  kVmDetached,
  kRamChanged,
  kVmHeld,
  kVmNoLongerHeld,
  kOpenRefused,
  // Orders that were accepted.
  kLimitChanged,
  kGuaranteeChanged,
  kWeightChanged,
  kSwapOutAsked,
  kSwapInAsked,
  kDetachAsked,
  kAttachAsked,
  // Of ebbd itself.
  kBudgetChanged,
  kBudgetShort,
  kBudgetHolds,
  kTierTrouble,
  kTierRecovered,
  kStopRequested,
  kStopRefused,
};

// As the control API has it: "vm_attached".
const char* EventKindName(EventKind kind);

struct Event {
  uint64_t seq = 0;     // from 1, without gaps, since ebbd was started
  int64_t time_ms = 0;  // wall time
  std::string vm;       // empty: about ebbd, or a process without a name
  EventKind kind = EventKind::kVmAttached;
  std::string message;  // one sentence, printable: what happened, and what to do if anything is
};

struct EventBatch {
  std::vector<Event> events;  // in order, without gaps
  uint64_t next = 0;          // what to ask for the next time
  uint64_t lost = 0;          // events between what was asked for and the first one, overwritten
};

// What has happened lately, for people who come later. Thread-safe; waits for nothing.
class EventLog {
 public:
  static constexpr size_t kKept = 1024;
  static constexpr size_t kMaxBatch = 256;
  static constexpr size_t kMaxMessageBytes = 600;  // a longer one is cut off

  // Both texts may come from a stranger: what is not printable in them becomes '?'.
  void Add(EventKind kind, const std::string& vm, const std::string& message);

  // The first kMaxBatch events after `seq` (0: from the first). With none after it `next` is the
  // last one's seq, which is less than `seq` for who has asked an earlier ebbd.
  EventBatch After(uint64_t seq) const;

 private:
  mutable Mutex mutex_{"EventLog::mutex_"};
  std::deque<Event> events_ ABSL_GUARDED_BY(mutex_);
  uint64_t last_seq_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace ebb
