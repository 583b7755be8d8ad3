// SPDX-License-Identifier: MIT
#include "hostd/vm/hotplug.h"

#include <algorithm>

#include "absl/strings/str_format.h"
#include "hostd/base/log.h"
#include "hostd/base/units.h"
#include "hostd/swap/shared_swap_state.h"

namespace ebb {
namespace {

// Left of the host's memory by what is brought back.
constexpr uint64_t kReturnMarginBytes = 128 * kMiB;
// Until a VM is let go of again whose RAM is still not what it should be: the detach failed, or the
// library does not tell of all of it. Each time twice as long.
constexpr int64_t kFirstPauseNs = 60 * kNsPerS;
constexpr int64_t kLongestPauseNs = 3600 * kNsPerS;

}  // namespace

void Hotplug::Follow(Vm& vm, const std::vector<size_t>& unplugged, int64_t now_ns) {
  for (const size_t memfd : unplugged) vm.ForgetUnplugged(memfd);
  const absl::StatusOr<std::vector<Vma>> map = MemoryMap(vm.pid());
  if (!map.ok()) return;  // it has exited, or is looked at again
  const VmRam now = RamIn(*map);
  const RamChange change = ChangeOf(vm.ram(), now);
  if (!change.any()) {
    changed_.erase(vm.name());
    return;
  }
  Changed& changed = changed_[vm.name()];
  if (changed.pid != vm.pid() || changed.files != now.files) {
    changed = {};
    changed.pid = vm.pid();
    changed.files = now.files;
  }
  if (now_ns < changed.next_try_ns) return;
  const absl::Status may_begin = CheckMayBegin(vm, now);
  if (!may_begin.ok()) return SayItStays(vm, change, may_begin, &changed);
  changed.pause_ns = std::clamp(changed.pause_ns * 2, kFirstPauseNs, kLongestPauseNs);
  changed.next_try_ns = now_ns + changed.pause_ns;
  registry_->Reattach(vm, change.Text() + "; it is attached again with what it has now");
  ForgetExited();
}

absl::Status Hotplug::CheckMayBegin(const Vm& vm, const VmRam& now) const {
  if (absl::Status status = CheckCanReturn(vm.pid(), vm.ram(), now); !status.ok()) return status;
  // The page words of what it has now, and what others are getting back just now, count as well.
  uint64_t needed_bytes =
      vm.bytes_to_bring_back() + SharedSwapState::MetadataBytes(now.layout.pages());
  for (const auto& other : registry_->All()) {
    if (other->state() == Vm::State::kDetaching) needed_bytes += other->bytes_to_bring_back();
  }
  const uint64_t available_bytes = available_bytes_();
  if (needed_bytes + kReturnMarginBytes <= available_bytes) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrFormat(
      "%d MiB would have to be brought back first, and the host has %d MiB available; it is done "
      "when that fits: free memory",
      needed_bytes / kMiB, available_bytes / kMiB));
}

void Hotplug::SayItStays(const Vm& vm, const RamChange& change, const absl::Status& why,
                         Changed* changed) {
  if (changed->said == why.code()) return;
  changed->said = why.code();
  const std::string message =
      absl::StrFormat("%s: %s. It stays as it was, and %s: %s", vm.name(), change.Text(),
                      change.plugged_bytes > 0 ? "what was plugged is neither limited nor taken"
                                               : "counts what is gone as its memory",
                      std::string(why.message()));
  LogWarning("vm %s", message);
  registry_->events().Add(EventKind::kRamChanged, vm.name(), message);
}

void Hotplug::ForgetExited() {
  std::erase_if(changed_, [](const auto& of) { return !OpenPidfd(of.second.pid).ok(); });
}

}  // namespace ebb
