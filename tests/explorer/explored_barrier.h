// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

#include "hostd/base/units.h"
#include "hostd/swap/io_barrier.h"
#include "tests/explorer/actor.h"
#include "tests/explorer/seen.h"

namespace ebb::explorer {

// A barrier whose time is the number of barriers that have started, so that the same order of
// things always looks the same. The explorer starts and completes it.
class ExploredBarrier : public IoBarrier {
 public:
  ExploredBarrier(int most, bool wanted) : left_(most), wanted_(wanted) {}

  int64_t NowNs() override {
    EbbdThread::Current()->See(Seen::Value(static_cast<uint64_t>(started_)));
    return started_;
  }
  int64_t SafeBeforeNs(int64_t) override { return safe_before_; }
  void Request(bool) override { wanted_ = left_ > 0; }
  int64_t IntervalNs() override { return 10 * kNsPerS; }
  IoBarrierStatus Status() override { return {}; }

  int64_t started() const { return started_; }
  bool CanBeWanted() const { return left_ > 0 && !wanted_ && !running_; }
  bool CanStart() const { return wanted_ && !running_; }
  bool running() const { return running_; }
  int64_t safe_before() const { return safe_before_; }
  void Start() {
    ++started_;
    --left_;
    running_ = true;
    wanted_ = false;
  }
  void Complete() {
    safe_before_ = started_;
    running_ = false;
  }
  // Whether the youngest barrier that has completed, or the one that runs, will do for what was
  // protected at `since`.
  Seen Age(int64_t since) const {
    return Seen::Value(uint64_t{since < safe_before_} | uint64_t{since < started_} << 1);
  }
  uint64_t Fingerprint() const {
    return static_cast<uint64_t>(left_) | uint64_t{running_} << 16 | uint64_t{wanted_} << 17;
  }

 private:
  int left_;
  int64_t started_ = 0;
  int64_t safe_before_ = 0;
  bool running_ = false;
  bool wanted_;
};

}  // namespace ebb::explorer
