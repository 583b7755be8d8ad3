// SPDX-License-Identifier: MIT
#include "hostd/vm/condition_watch.h"

#include <unistd.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "hostd/base/clock.h"
#include "hostd/base/log.h"
#include "hostd/base/status_macros.h"
#include "hostd/base/units.h"
#include "hostd/os/process.h"
#include "hostd/vm/attach_check.h"
#include "hostd/vm/ram_change.h"

namespace ebb {
namespace {

constexpr int64_t kIntervalNs = 5 * kNsPerS;

// Between fork and exec a child of QEMU has its descriptors.
constexpr int64_t kForkNs = 200 * kNsPerMs;
// Looking may fail for want of descriptors or memory; what cannot be looked at for as many rounds
// is not allowed any more.
constexpr int kMaxRoundsUnseen = 3;

absl::Status Check(const Vm& vm, const absl::StatusOr<FileUsers>& users,
                   const std::vector<size_t>& unplugged) {
  EBB_RETURN_IF_ERROR(vm.CheckHealthy());
  if (!users.ok()) return users.status();
  return CheckStillAllowed(vm.pid(), WithoutMemfds(vm.ram(), unplugged), *users);
}

// More is unplugged than a moment ago, when its users were looked for.
bool UnplugsNow(const Vm& vm, const std::vector<size_t>& unplugged) {
  const absl::StatusOr<FileUsers> users = UsersOf(vm.ram().files);
  return users.ok() && UnpluggedMemfds(vm.ram(), *users) != unplugged;
}

bool HasStrangers(const FileUsers& users, const std::vector<std::shared_ptr<Vm>>& vms) {
  return std::any_of(users.holders.begin(), users.holders.end(), [&](const FileUser& user) {
    if (user.pid == getpid()) return false;
    return std::none_of(vms.begin(), vms.end(),
                        [&](const auto& vm) { return vm->pid() == user.pid; });
  });
}

}  // namespace

ConditionWatch::ConditionWatch(Registry* registry)
    : registry_(registry),
      hotplug_(registry, HostAvailableBytes),
      tier_watch_(registry),
      thread_("conditions", ThreadRole::kReclaim, kIntervalNs, [this] { CheckAll(); }) {}

absl::StatusOr<FileUsers> ConditionWatch::LookForUsers(
    const std::vector<std::shared_ptr<Vm>>& vms) {
  std::vector<FileId> files;
  for (const auto& vm : vms) {
    files.insert(files.end(), vm->ram().files.begin(), vm->ram().files.end());
  }
  absl::StatusOr<FileUsers> users = UsersOf(files);
  if (!users.ok() || !HasStrangers(*users, vms)) return users;
  thread_.Sleep(kForkNs);
  const absl::StatusOr<FileUsers> later = UsersOf(files);
  if (!later.ok()) return later.status();
  const auto gone = [&](const FileUser& user) {
    return std::find(later->holders.begin(), later->holders.end(), user) == later->holders.end();
  };
  users->holders.erase(std::remove_if(users->holders.begin(), users->holders.end(), gone),
                       users->holders.end());
  return users;
}

void ConditionWatch::CheckAll() {
  tier_watch_.Look(MonotonicNs());
  const std::vector<std::shared_ptr<Vm>> vms = registry_->All();
  if (vms.empty()) rounds_unseen_.clear();
  if (vms.empty()) return;
  const absl::StatusOr<FileUsers> users = LookForUsers(vms);
  for (const auto& vm : vms) {
    if (vm->state() == Vm::State::kRunning && !vm->exited()) CheckOne(*vm, users);
  }
}

void ConditionWatch::CheckOne(Vm& vm, const absl::StatusOr<FileUsers>& users) {
  std::vector<size_t> unplugged;
  if (users.ok()) unplugged = UnpluggedMemfds(vm.ram(), *users);
  const absl::Status found = Check(vm, users, unplugged);
  if (!found.ok() && (UnplugsNow(vm, unplugged) || BeginsToUnplug(vm, users))) return;
  unplugging_.erase(vm.name());
  const bool must_go = MustGo(vm, found);
  if (found.ok()) hotplug_.Follow(vm, unplugged, MonotonicNs());
  if (!must_go || vm.exited()) return;
  LogError("vm %s: can no longer be managed: %s. Bringing all of its memory back", vm.name(),
           std::string(found.message()));
  registry_->BeginDetach(vm, std::string(found.message()));
}

// QEMU unmaps a DIMM, which takes a while, and closes its memfd then: by the next round, if it is
// an unplug.
bool ConditionWatch::BeginsToUnplug(const Vm& vm, const absl::StatusOr<FileUsers>& users) {
  if (!users.ok() || !IsBeingUnplugged(vm.ram(), vm.pid(), *users)) return false;
  return unplugging_.insert(vm.name()).second;
}

bool ConditionWatch::MustGo(const Vm& vm, const absl::Status& found) {
  if (found.ok() || absl::IsFailedPrecondition(found)) {
    rounds_unseen_.erase(vm.name());
    return !found.ok();
  }
  const int rounds = ++rounds_unseen_[vm.name()];
  if (rounds < kMaxRoundsUnseen) return false;
  rounds_unseen_.erase(vm.name());
  return true;
}

}  // namespace ebb
