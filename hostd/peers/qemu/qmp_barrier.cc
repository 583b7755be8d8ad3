// SPDX-License-Identifier: MIT
#include "hostd/peers/qemu/qmp_barrier.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "hostd/base/clock.h"
#include "hostd/base/log.h"
#include "hostd/base/units.h"

namespace ebb {
namespace {

constexpr int64_t kReconnectNs = kNsPerS;
constexpr int64_t kReconnectAfterFloodNs = 60 * kNsPerS;
// A drain waits for the slowest disk; this long it does not normally take.
constexpr int64_t kSilenceNs = 10 * kNsPerS;
// From then on something holds QEMU's lock, and faults that are put off wait for nothing (0008).
constexpr int64_t kUnansweredNs = 2 * kNsPerS;
constexpr int64_t kSayAgainNs = 60 * kNsPerS;
// Throttling can be set at any time; a few drains past it are tolerable.
constexpr int64_t kThrottleCheckNs = 10 * kNsPerS;
constexpr int64_t kIdleTickNs = kNsPerS;
// Often, as a disk that works takes no longer. One that completes nothing for longer than
// kDiskStallNs is in trouble; from then on a glance at it now and then has to do.
constexpr int64_t kDiskLookNs = 5 * kNsPerMs;
constexpr int64_t kDiskStallNs = kNsPerS;
constexpr int64_t kGlanceNs = 20 * kNsPerMs;
constexpr int64_t kBetweenGlancesNs = kNsPerS / 4;
// What was seen of the disks is good for as long.
constexpr int64_t kPromptNs = kNsPerS / 4;

constexpr char kEmptyTransaction[] = R"({"execute": "transaction", "arguments": {"actions": []}})";
constexpr char kPing[] = R"({"execute": "query-status"})";
constexpr char kQueryBlock[] = R"({"execute": "query-block"})";

// Whether a device in the answer to query-block has an I/O limit.
bool IsThrottled(const std::string& query_block) {
  const auto devices = nlohmann::json::parse(query_block, nullptr, /*allow_exceptions=*/false);
  if (!devices.is_array()) return false;
  for (const auto& device : devices) {
    if (!device.is_object() || !device.contains("inserted")) continue;
    const auto& inserted = device["inserted"];
    if (!inserted.is_object()) continue;
    for (const char* limit : {"bps", "bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr"}) {
      const auto found = inserted.find(limit);
      if (found != inserted.end() && found->is_number() && *found != 0) return true;
    }
  }
  return false;
}

}  // namespace

int64_t QmpBarrier::SafeBeforeNs(int64_t now_ns) {
  const int64_t safe_before_ns = safe_before_ns_.load(std::memory_order_acquire);
  if (!use_grace_.load(std::memory_order_relaxed)) return safe_before_ns;
  return std::max(safe_before_ns, grace_.SafeBeforeNs(now_ns));
}

void QmpBarrier::Request(bool urgent) {
  const Wanted wanted = urgent ? Wanted::kUrgent : Wanted::kNormal;
  if (wanted_.exchange(wanted) != wanted) options_.peers_wake->Set();
}

int64_t QmpBarrier::IntervalNs() {
  if (use_grace_) return grace_.IntervalNs();
  return urgent_interval_ns_;
}

IoBarrierStatus QmpBarrier::Status() {
  IoBarrierStatus status;
  status.mode = use_grace_ ? "grace" : "qmp";
  status.count = durations_.count();
  status.p50_ms = static_cast<double>(durations_.PercentileNs(0.50)) / kNsPerMs;
  status.p99_ms = static_cast<double>(durations_.PercentileNs(0.99)) / kNsPerMs;
  status.interval_ms = static_cast<uint64_t>(IntervalNs() / kNsPerMs);
  return status;
}

void QmpBarrier::OnReadable() {
  if (connection_.OnReadable()) return;
  if (connection_.flooded()) {
    next_connect_ns_ = NowNs() + kReconnectAfterFloodNs;
    SayTrouble("QEMU floods it; the next try is in a minute");
  } else {
    SayTrouble("the connection was lost");
  }
}

// Once until QEMU answers again, and once a minute where it is now so and now so.
void QmpBarrier::SayTrouble(const std::string& what) {
  const int64_t now_ns = NowNs();
  if (!said_trouble_ && (said_trouble_ns_ == 0 || now_ns - said_trouble_ns_ > kSayAgainNs)) {
    said_trouble_ns_ = now_ns;
    LogWarning("vm %s: QMP is of no use (%s); without it nothing is swapped out", options_.vm_name,
               what);
  }
  said_trouble_ = true;
}

void QmpBarrier::Send(const std::string& command, QmpConnection::Answer answer) {
  asked_ns_ = NowNs();
  connection_.Send(command, [this, answer = std::move(answer)](bool ok, const std::string& result) {
    unanswered_ = false;
    if (ok) said_trouble_ = false;
    answer(ok, result);
  });
}

void QmpBarrier::NoteSilence(int64_t now_ns) {
  const bool waits = connection_.connected() && !connection_.idle();
  unanswered_ = waits && now_ns - asked_ns_ > kUnansweredNs;
  if (waits && now_ns - asked_ns_ > kSilenceNs) SayTrouble("QEMU does not answer");
}

int64_t QmpBarrier::OnTick(int64_t now_ns) {
  if (!connection_.connected()) Reconnect(now_ns);
  if (!connection_.idle()) {
    NoteSilence(now_ns);
    return kIdleTickNs;
  }
  const bool ask = now_ns >= next_throttle_check_ns_;
  const int64_t wait_ns = ask ? 0 : NsToBarrier(now_ns);
  if (wait_ns > 0) return std::min(kIdleTickNs, wait_ns);
  // Asking may wait for the disks, too.
  if (!DisksWork(now_ns)) return disks_looked_at_ns_ == 0 ? kBetweenGlancesNs : kDiskLookNs;
  if (ask) {
    next_throttle_check_ns_ = now_ns + kThrottleCheckNs;
    AskThrottling();
  } else {
    StartBarrier(now_ns);
  }
  return kIdleTickNs;
}

int64_t QmpBarrier::NsToBarrier(int64_t now_ns) const {
  const Wanted wanted = wanted_;
  if (wanted == Wanted::kNone || use_grace_) return kIdleTickNs;
  const int64_t next_ns = schedule_.NextStartNs(wanted == Wanted::kUrgent);
  return std::max<int64_t>(0, std::max(next_ns, next_ping_ns_) - now_ns);
}

bool QmpBarrier::DisksWork(int64_t now_ns) {
  if (disks_looked_at_ns_ == 0) {
    disks_looked_at_ns_ = now_ns;
    disk_activity_.Begin(now_ns);
  }
  const std::string disk = disk_activity_.Waiting(now_ns);
  const int64_t enough_ns = said_stalled_ ? kGlanceNs : kDiskStallNs;
  const bool stalls = !disk.empty() && now_ns - disks_looked_at_ns_ >= enough_ns;
  if (stalls && !said_stalled_) {
    LogWarning(
        "vm %s: disk %s has requests in flight and completes nothing; nothing more is swapped "
        "out until it does",
        options_.vm_name, disk);
  }
  if (disk.empty() || stalls) disks_looked_at_ns_ = 0;  // begin anew: disks come and go
  said_stalled_ = !disk.empty() && (stalls || said_stalled_);
  return disk.empty();
}

void QmpBarrier::Reconnect(int64_t now_ns) {
  if (now_ns < next_connect_ns_) return;
  next_connect_ns_ = now_ns + kReconnectNs;
  const absl::Status status = connection_.Connect(options_.qmp_path, options_.pid);
  asked_ns_ = now_ns;
  if (!status.ok()) SayTrouble(std::string(status.message()));
}

void QmpBarrier::AskThrottling() {
  Send(kQueryBlock, [this](bool ok, const std::string& result) {
    if (!ok) {
      next_throttle_check_ns_ = 0;  // unknown: ask again before the next barrier
      return;
    }
    const bool throttled = IsThrottled(result);
    if (throttled && !use_grace_) {
      LogWarning(
          "vm %s: a disk has an I/O limit, which barriers would let requests past; a grace "
          "time of %d s takes their place",
          options_.vm_name, GraceTime::kDefaultNs / kNsPerS);
    }
    use_grace_ = throttled;
  });
}

// A dump, a snapshot or the last step of a migration keep QEMU from its monitor for seconds. A
// barrier that waited for that did not hold the guest, and must not count as one that did.
void QmpBarrier::StartBarrier(int64_t now_ns) {
  // Who answers at once, and not as asked, must not keep this thread busy.
  next_ping_ns_ = now_ns + kPromptNs;
  const int64_t asked_ns = NowNs();
  Send(kPing, [this, asked_ns](bool ok, const std::string&) {
    if (ok && connection_.idle() && NowNs() - asked_ns < kPromptNs) Drain();
  });
}

void QmpBarrier::Drain() {
  wanted_ = Wanted::kNone;
  // Read before the command leaves: what is protected by now, the drain covers.
  const int64_t started_ns = NowNs();
  Send(kEmptyTransaction,
       [this, started_ns](bool ok, const std::string&) { FinishBarrier(ok, started_ns); });
}

void QmpBarrier::FinishBarrier(bool ok, int64_t started_ns) {
  const int64_t ended_ns = NowNs();
  // Also when it failed: QEMU may have drained all the same.
  schedule_.NoteCompleted(started_ns, ended_ns);
  urgent_interval_ns_ = schedule_.IntervalNs(/*urgent=*/true);
  if (!ok) return;
  durations_.Add(ended_ns - started_ns);
  safe_before_ns_.store(started_ns, std::memory_order_release);
  if (completed_) completed_();
}

}  // namespace ebb
