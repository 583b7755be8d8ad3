// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "hostd/os/process.h"
#include "hostd/vm/ram_change.h"
#include "hostd/vm/registry.h"

namespace ebb {

// Follows what QEMU plugs into attached VMs and unplugs from them. What was unplugged is forgotten
// at once. A VM whose RAM has changed is attached again, with all that it has now: until then it
// runs on as it was attached, and what was plugged is not managed. That waits until what must be
// brought back for it fits into the host, and never is where the new RAM could not be managed.
// Conditions thread only.
class Hotplug {
 public:
  // `registry` must outlive this. `available_bytes`: of the host's memory.
  Hotplug(Registry* registry, std::function<uint64_t()> available_bytes)
      : registry_(registry), available_bytes_(std::move(available_bytes)) {}

  // Call it every few seconds for each running VM, with the memfds of its RAM that were unplugged.
  void Follow(Vm& vm, const std::vector<size_t>& unplugged, int64_t now_ns);

 private:
  // A VM whose RAM is not what it was attached with.
  struct Changed {
    int pid = 0;
    std::vector<FileId> files;                      // its RAM now
    absl::StatusCode said = absl::StatusCode::kOk;  // why it stays as it is
    int64_t next_try_ns = 0;
    int64_t pause_ns = 0;
  };

  absl::Status CheckMayBegin(const Vm& vm, const VmRam& now) const;
  void SayItStays(const Vm& vm, const RamChange& change, const absl::Status& why, Changed* changed);
  void ForgetExited();

  Registry* const registry_;
  const std::function<uint64_t()> available_bytes_;
  std::map<std::string, Changed> changed_;  // by the VM's name
};

}  // namespace ebb
