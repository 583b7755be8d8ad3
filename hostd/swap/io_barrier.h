// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <string>

#include "hostd/base/clock.h"

namespace ebb {

struct IoBarrierStatus {
  std::string mode;  // qmp, grace
  uint64_t count = 0;
  double p50_ms = 0;
  double p99_ms = 0;
  uint64_t interval_ms = 0;
};

// Tells when I/O that was in flight towards guest RAM at some moment is over. A device that was
// writing into a page when it was write-protected is not seen by the protection (design, fact 4):
// such a page may be read and dropped only after a barrier that *started after* the protection was
// in place has completed. Thread-safe; nothing here waits.
class IoBarrier {
 public:
  virtual ~IoBarrier() = default;

  // The time that barriers go by. Read it after a page was protected. A simulation has its own.
  virtual int64_t NowNs() { return MonotonicNs(); }

  // Start of the youngest barrier that has completed, by NowNs: what was protected strictly before
  // it is safe. 0: none has.
  virtual int64_t SafeBeforeNs(int64_t now_ns) = 0;

  // Asks for a barrier to start as soon as the rules that protect the VM's I/O allow; `urgent` when
  // the VM is at its limit. `reclaim` is woken by the owner of both when it has completed.
  virtual void Request(bool urgent) = 0;

  // QEMU has been asked for seconds and has not answered: no barrier is to be had until it does.
  virtual bool Unanswered() const { return false; }

  // How far apart barriers start at the soonest.
  virtual int64_t IntervalNs() = 0;

  virtual IoBarrierStatus Status() = 0;
};

// Where QEMU cannot be asked: I/O is taken to be over after a grace time.
class GraceTime : public IoBarrier {
 public:
  // Storage stacks retry for 30 to 180 s; a request older than this has failed.
  static constexpr int64_t kDefaultNs = int64_t{300} * 1000 * 1000 * 1000;

  explicit GraceTime(int64_t grace_ns = kDefaultNs) : grace_ns_(grace_ns) {}

  int64_t SafeBeforeNs(int64_t now_ns) override { return now_ns - grace_ns_; }
  void Request(bool) override {}
  // Every moment is as good as a barrier that started a grace time ago.
  int64_t IntervalNs() override { return grace_ns_; }
  IoBarrierStatus Status() override {
    IoBarrierStatus status;
    status.mode = "grace";
    status.interval_ms = static_cast<uint64_t>(grace_ns_ / 1000000);
    return status;
  }

 private:
  const int64_t grace_ns_;
};

}  // namespace ebb
