// SPDX-License-Identifier: MIT
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "hostd/os/periodic_thread.h"
#include "hostd/os/process_view.h"
#include "hostd/vm/hotplug.h"
#include "hostd/vm/registry.h"
#include "hostd/vm/tier_watch.h"

namespace ebb {

// Looks every few seconds whether the attached VMs may still be managed, and detaches those that
// may not (or cannot be looked at any more): everything is brought back. Follows what is plugged
// into them and unplugged, and how the tiers do. A thread of its own, because it reads much of
// /proc: one scan of all processes serves all VMs.
class ConditionWatch {
 public:
  // `registry` must outlive this.
  explicit ConditionWatch(Registry* registry);

 private:
  void CheckAll();
  absl::StatusOr<FileUsers> LookForUsers(const std::vector<std::shared_ptr<Vm>>& vms);
  void CheckOne(Vm& vm, const absl::StatusOr<FileUsers>& users);
  bool BeginsToUnplug(const Vm& vm, const absl::StatusOr<FileUsers>& users);
  bool MustGo(const Vm& vm, const absl::Status& found);

  Registry* const registry_;
  Hotplug hotplug_;
  TierWatch tier_watch_;
  std::map<std::string, int> rounds_unseen_;  // of each VM that could not be looked at
  std::set<std::string> unplugging_;          // VMs that were seen to, in the last round
  PeriodicThread thread_;                     // after all that it uses
};

}  // namespace ebb
