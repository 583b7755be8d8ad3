// SPDX-License-Identifier: MIT
#include "hostd/peers/qemu/peer_conduct.h"

#include "absl/strings/str_format.h"
#include "hostd/base/units.h"

namespace ebb {
namespace {

constexpr size_t kMaxPeers = 1024;
constexpr int64_t kMinuteNs = 60 * kNsPerS;
constexpr int64_t kChecksWindowNs = 4 * kNsPerS;

}  // namespace

PeerConduct::Peer& PeerConduct::Of(int pid) {
  if (peers_.size() >= kMaxPeers && peers_.count(pid) == 0) peers_.clear();
  return peers_[pid];
}

std::optional<std::string> PeerConduct::Refused(int pid, const std::string& vm_name,
                                                const std::string& reason, int64_t now_ns) {
  Peer& peer = Of(pid);
  if (peer.last_reason == reason) return std::nullopt;
  peer.last_reason = reason;
  if (now_ns - peer.minute_began_ns >= kMinuteNs) {
    peer.minute_began_ns = now_ns;
    peer.lines = 0;
  }
  if (peer.lines > kLinesPerMinute) return std::nullopt;
  const std::string name = vm_name.empty() ? "without a name" : vm_name;
  if (++peer.lines <= kLinesPerMinute) {
    return absl::StrFormat("vm %s (process %d): not attached: %s", name, pid, reason);
  }
  return absl::StrFormat("vm %s (process %d): more refusals than %d a minute; the rest is not said",
                         name, pid, kLinesPerMinute);
}

bool PeerConduct::MayBeChecked(int pid, int64_t now_ns) {
  Peer& peer = Of(pid);
  if (now_ns - peer.checks_began_ns >= kChecksWindowNs) {
    peer.checks_began_ns = now_ns;
    peer.checks = 0;
  }
  return ++peer.checks <= kMaxChecks;
}

}  // namespace ebb
