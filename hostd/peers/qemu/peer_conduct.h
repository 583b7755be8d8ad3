// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

namespace ebb {

// What is remembered of processes that were refused, so that none of them can fill the log or keep
// ebbd busy with looking at it. Bounded. Peers thread only.
class PeerConduct {
 public:
  // The line to log for this refusal, if any: the same reason is said once, and no more than
  // kLinesPerMinute for one process.
  std::optional<std::string> Refused(int pid, const std::string& vm_name, const std::string& reason,
                                     int64_t now_ns);

  // Whether the process may be looked at now. Looking takes milliseconds, and a library that was
  // refused waits a second before it asks again.
  bool MayBeChecked(int pid, int64_t now_ns);

  void Attached(int pid) { peers_.erase(pid); }

  static constexpr int kLinesPerMinute = 10;
  static constexpr int kMaxChecks = 8;  // in 4 s

 private:
  struct Peer {
    std::string last_reason;
    int64_t minute_began_ns = 0;
    int lines = 0;  // in that minute
    int64_t checks_began_ns = 0;
    int checks = 0;  // since then
  };
  Peer& Of(int pid);

  std::map<int, Peer> peers_;
};

}  // namespace ebb
