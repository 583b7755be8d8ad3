// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <string>

#include "hostd/os/open_guard.h"
#include "hostd/vm/registry.h"

namespace ebb {

// Says which opens of VMs' memory were refused, in the log and as events, and what to do instead.
// Whoever opens does not fill the log. Peers thread only.
class OpenReports {
 public:
  // In all; the rest is counted, and the number said with the next line.
  static constexpr int kLinesPerMinute = 10;

  // `registry` must outlive this.
  explicit OpenReports(Registry* registry) : registry_(registry) {}

  void Say(const OpenGuard::Refusals& refusals, int64_t now_ns);

 private:
  bool MaySay(int64_t now_ns);
  // Empty: it is not attached (any more).
  std::string VmOf(const FileId& file) const;

  Registry* const registry_;
  int64_t minute_began_ns_ = 0;
  int lines_ = 0;  // in that minute
  uint64_t unsaid_ = 0;
};

}  // namespace ebb
