// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <string>

#include "hostd/base/units.h"
#include "hostd/vm/registry.h"

namespace ebb {

// Says once, in the log and as an event, that the disk tier fails, stalls or is full, and that it
// is well again. One thread, which may log.
class TierWatch {
 public:
  // Trouble that comes and goes is over when it has not been there for so long.
  static constexpr int64_t kWellAfterNs = 30 * kNsPerS;

  // `registry` must outlive this.
  explicit TierWatch(Registry* registry) : registry_(registry) {}

  // Call it every few seconds, with the monotonic time.
  void Look(int64_t now_ns);

 private:
  void Note(const TierStatus& disk, int64_t now_ns);

  Registry* const registry_;
  std::string said_ = "ok";  // the state that people know of
  int64_t trouble_ns_ = 0;   // when it was last not well
};

}  // namespace ebb
