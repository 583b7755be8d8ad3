// SPDX-License-Identifier: MIT
#include "hostd/vm/registry.h"

#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"
#include "hostd/base/clock.h"
#include "hostd/base/log.h"
#include "hostd/base/status_macros.h"
#include "hostd/base/units.h"
#include "hostd/base/wall_time.h"
#include "hostd/os/process.h"
#include "hostd/os/wake_event.h"
#include "hostd/vm/tier_status.h"

namespace ebb {
namespace {

// A page that is lost is tried again now and then, and does not count as lost meanwhile.
constexpr int64_t kNoLongerHeldNs = kNsPerS;

std::string By(const Caller& caller) {
  return absl::StrFormat("by uid %d, process %d", caller.uid, caller.pid);
}

std::string LimitText(uint64_t limit_bytes) {
  if (limit_bytes == 0) return "no limit";
  return absl::StrFormat("a limit of %d MiB", limit_bytes / kMiB);
}

void SetOrders(const Entitlement::Orders& orders, VmStatus* status) {
  status->limit_bytes = orders.limit;
  status->guarantee_bytes = orders.guarantee;
  status->weight = orders.weight;
}

std::string BudgetText(uint64_t budget_bytes) {
  return budget_bytes == 0 ? "none" : absl::StrFormat("%d MiB", budget_bytes / kMiB);
}

}  // namespace

Registry::Registry(std::string version, int64_t started_ns, uint64_t budget_bytes,
                   uint64_t pool_max_bytes, std::unique_ptr<DiskTier> disk)
    : version_(std::move(version)),
      started_ns_(started_ns),
      started_s_(static_cast<double>(WallTimeMs()) / 1000 -
                 static_cast<double>(MonotonicNs() - started_ns) / kNsPerS),
      pool_budget_(pool_max_bytes != 0 ? pool_max_bytes : UINT64_MAX),
      disk_(std::move(disk)),
      budget_bytes_(budget_bytes) {}

bool Registry::Contains(const std::string& name) const {
  MutexLock lock(mutex_);
  return vms_.count(name) != 0;
}

void Registry::Add(std::shared_ptr<ebb::Vm> vm) {
  decltype(away_)::node_type away;
  {
    MutexLock lock(mutex_);
    away = away_.extract(vm->name());
    vms_.emplace(vm->name(), vm);
  }
  events_.Add(EventKind::kVmAttached, vm->name(),
              absl::StrFormat("%s is attached: %d MiB of RAM, QEMU is process %d", vm->name(),
                              vm->ram_bytes() / kMiB, vm->pid()));
  // Another process of that name has nothing to do with it.
  if (away.empty() || away.mapped().status.pid != vm->pid()) return;
  const VmStatus& before = away.mapped().status;
  vm->entitlement().Restore({before.limit_bytes, before.guarantee_bytes, before.weight});
}

void Registry::Remove(const std::string& name) {
  // Destroyed behind the lock: the end of a VM waits for its threads.
  decltype(vms_)::node_type removed;
  {
    MutexLock lock(mutex_);
    removed = vms_.extract(name);
    held_.erase(name);
  }
}

std::vector<std::shared_ptr<ebb::Vm>> Registry::All() const {
  MutexLock lock(mutex_);
  std::vector<std::shared_ptr<ebb::Vm>> all;
  for (const auto& [name, vm] : vms_) all.push_back(vm);
  return all;
}

void Registry::LookForHeld(int64_t now_ns) {
  for (const auto& vm : All()) {
    const std::string& name = vm->name();
    const uint64_t pages = vm->held_pages();
    switch (NoteHeld(name, pages > 0, now_ns)) {
      case HeldChange::kNone:
        break;
      case HeldChange::kHeld:
        events_.Add(EventKind::kVmHeld, name,
                    absl::StrFormat("%s is held: pages of it (%d now) cannot be produced, and "
                                    "threads that touch them wait. ebbd's log says why, and it "
                                    "keeps trying; look at: ebbctl show %s",
                                    name, pages, name));
        break;
      case HeldChange::kNoLonger:
        events_.Add(EventKind::kVmNoLongerHeld, name,
                    name + " is no longer held: all of its pages can be produced again");
        break;
    }
  }
}

Registry::HeldChange Registry::NoteHeld(const std::string& name, bool held, int64_t now_ns) {
  MutexLock lock(mutex_);
  const auto known = held_.find(name);
  if (held) {
    if (known != held_.end()) known->second = 0;
    return held_.try_emplace(name, 0).second ? HeldChange::kHeld : HeldChange::kNone;
  }
  if (known == held_.end()) return HeldChange::kNone;
  if (known->second == 0) known->second = now_ns;
  if (now_ns - known->second < kNoLongerHeldNs) return HeldChange::kNone;
  held_.erase(known);
  return HeldChange::kNoLonger;
}

void Registry::BeginDetach(ebb::Vm& vm, const std::string& why) {
  if (!vm.Detach(why)) return;
  events_.Add(
      EventKind::kDetachBegun, vm.name(),
      absl::StrFormat("%s gets all of its memory back, and is let go then: %s", vm.name(), why));
}

void Registry::Reattach(ebb::Vm& vm, const std::string& why) {
  absl::StatusOr<Away> away = AwayOf(vm);
  if (!away.ok()) return;  // it has exited
  away->may_return = true;
  {
    // Unless it is being detached by hand.
    MutexLock lock(mutex_);
    away_.try_emplace(vm.name(), *std::move(away));
  }
  KeepForReturn(vm);  // an order may have come in between
  NoteOrder(EventKind::kRamChanged, vm.name(), vm.name() + ": " + why);
  BeginDetach(vm, why);
}

absl::StatusOr<Registry::Away> Registry::AwayOf(const ebb::Vm& vm) {
  absl::StatusOr<UniqueFd> pidfd = OpenPidfd(vm.pid());
  if (!pidfd.ok()) return absl::FailedPreconditionError(vm.name() + ": its QEMU has just exited");
  Away away;
  away.pidfd = *std::move(pidfd);
  away.status.name = vm.name();
  away.status.pid = vm.pid();
  away.status.state = "detached";
  away.status.ram_bytes = vm.ram_bytes();
  SetOrders(vm.entitlement().orders(), &away.status);
  return away;
}

// It may be on its way out, and is to return with what it may have now.
void Registry::KeepForReturn(const ebb::Vm& vm) {
  const Entitlement::Orders orders = vm.entitlement().orders();
  MutexLock lock(mutex_);
  const auto away = away_.find(vm.name());
  if (away != away_.end()) SetOrders(orders, &away->second.status);
}

void Registry::NoteDetached(const std::string& name) {
  MutexLock lock(mutex_);
  if (away_.count(name) == 0) ++detached_vms_;
}

void Registry::SetStopping(bool stopping) {
  MutexLock lock(mutex_);
  stopping_ = stopping;
}

void Registry::SetStopRefused(std::string reason) {
  MutexLock lock(mutex_);
  stop_refused_ = std::move(reason);
}

uint64_t Registry::budget_bytes() const {
  MutexLock lock(mutex_);
  return budget_bytes_;
}

void Registry::SetBudgetMissing(uint64_t bytes) {
  MutexLock lock(mutex_);
  budget_missing_bytes_ = bytes;
}

HostStatus Registry::Status() const {
  HostStatus status;
  status.version = version_;
  status.pid = getpid();
  status.uptime_s = static_cast<double>(MonotonicNs() - started_ns_) / kNsPerS;
  status.started_s = started_s_;
  status.kernel = KernelRelease();
  if (pool_budget_.max_bytes() != UINT64_MAX) status.pool_max_bytes = pool_budget_.max_bytes();
  MutexLock lock(mutex_);
  status.state = stopping_ ? "stopping" : "running";
  status.stop_refused = stop_refused_;
  status.vms = vms_.size();
  status.budget_bytes = budget_bytes_;
  status.budget_missing_bytes = budget_missing_bytes_;
  status.detached_vms = detached_vms_;
  return status;
}

std::vector<VmStatus> Registry::Vms() const {
  std::map<std::string, VmStatus> statuses;
  {
    MutexLock lock(mutex_);
    for (const auto& [name, away] : away_) statuses[name] = away.status;
  }
  for (const auto& vm : All()) statuses[vm->name()] = vm->Status();
  std::vector<VmStatus> in_order;
  in_order.reserve(statuses.size());
  for (auto& [name, status] : statuses) in_order.push_back(std::move(status));
  return in_order;
}

std::vector<TierStatus> Registry::Tiers() const {
  return StatusOf(&pool_budget_, disk_.get(), Vms(), MonotonicNs());
}

void Registry::NoteOrder(EventKind kind, const std::string& name, const std::string& message) {
  LogInfo("vm %s: %s", name, message);
  events_.Add(kind, name, message);
}

absl::StatusOr<std::shared_ptr<ebb::Vm>> Registry::Find(const std::string& name) const {
  MutexLock lock(mutex_);
  const auto found = vms_.find(name);
  if (found != vms_.end()) return found->second;
  const auto away = away_.find(name);
  if (away != away_.end() && away->second.may_return) {
    return absl::FailedPreconditionError(name +
                                         " is about to be attached again; try again in a moment");
  }
  if (away != away_.end()) {
    return absl::FailedPreconditionError(name + " is detached; to let it return: ebbctl attach " +
                                         name);
  }
  return absl::NotFoundError("no VM named \"" + name + "\" is attached");
}

absl::StatusOr<VmStatus> Registry::Vm(const std::string& name) const {
  {
    MutexLock lock(mutex_);
    const auto away = away_.find(name);
    if (away != away_.end() && vms_.count(name) == 0) return away->second.status;
  }
  EBB_ASSIGN_OR_RETURN(const auto vm, Find(name));
  return vm->Status();
}

absl::Status Registry::SetLimit(const std::string& name, uint64_t limit_bytes,
                                const Caller& caller) {
  EBB_ASSIGN_OR_RETURN(const auto vm, Find(name));
  const uint64_t before_bytes = vm->entitlement().orders().limit;
  EBB_RETURN_IF_ERROR(vm->entitlement().SetLimit(limit_bytes));
  KeepForReturn(*vm);
  NoteOrder(EventKind::kLimitChanged, name,
            absl::StrFormat("%s has %s (before: %s), set %s", name, LimitText(limit_bytes),
                            LimitText(before_bytes), By(caller)));
  return absl::OkStatus();
}

// To all VMs but one, those that are away and may return among them.
uint64_t Registry::Guaranteed(const std::string& but_to) const {
  uint64_t sum = 0;
  {
    MutexLock lock(mutex_);
    for (const auto& [name, away] : away_) {
      if (name != but_to && vms_.count(name) == 0) sum += away.status.guarantee_bytes;
    }
  }
  for (const auto& vm : All()) {
    if (vm->name() != but_to) sum += vm->entitlement().orders().guarantee;
  }
  return sum;
}

absl::Status Registry::SetBudget(uint64_t budget_bytes, const Caller& caller) {
  const uint64_t guaranteed = Guaranteed("");
  if (budget_bytes != 0 && budget_bytes < kLeastResidentBytes) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "the budget must be at least %d MiB, or 0 for none", kLeastResidentBytes / kMiB));
  }
  if (budget_bytes != 0 && budget_bytes < guaranteed) {
    return absl::FailedPreconditionError(
        absl::StrFormat("the VMs are guaranteed %d MiB, and the budget must be as much; a smaller "
                        "one needs lower guarantees first",
                        guaranteed / kMiB));
  }
  uint64_t before_bytes = budget_bytes;
  {
    MutexLock lock(mutex_);
    std::swap(before_bytes, budget_bytes_);
  }
  NoteOrder(EventKind::kBudgetChanged, "",
            absl::StrFormat("the budget of all VMs is %s (before: %s), set %s",
                            BudgetText(budget_bytes), BudgetText(before_bytes), By(caller)));
  return absl::OkStatus();
}

absl::Status Registry::SetGuarantee(const std::string& name, uint64_t guarantee_bytes,
                                    const Caller& caller) {
  EBB_ASSIGN_OR_RETURN(const auto vm, Find(name));
  const uint64_t others = Guaranteed(name);
  const uint64_t budget = budget_bytes();
  if (budget != 0 && guarantee_bytes > budget - std::min(budget, others)) {
    return absl::FailedPreconditionError(absl::StrFormat(
        "the budget is %d MiB, and other VMs are guaranteed %d MiB of it; %s cannot be guaranteed "
        "%d MiB",
        budget / kMiB, others / kMiB, name, guarantee_bytes / kMiB));
  }
  EBB_RETURN_IF_ERROR(vm->entitlement().SetGuarantee(guarantee_bytes));
  KeepForReturn(*vm);
  NoteOrder(
      EventKind::kGuaranteeChanged, name,
      absl::StrFormat("%s is guaranteed %d MiB, set %s", name, guarantee_bytes / kMiB, By(caller)));
  return absl::OkStatus();
}

absl::Status Registry::SetWeight(const std::string& name, uint64_t weight, const Caller& caller) {
  EBB_ASSIGN_OR_RETURN(const auto vm, Find(name));
  EBB_RETURN_IF_ERROR(vm->entitlement().SetWeight(weight));
  KeepForReturn(*vm);
  NoteOrder(EventKind::kWeightChanged, name,
            absl::StrFormat("%s has a weight of %d, set %s", name, weight, By(caller)));
  return absl::OkStatus();
}

absl::Status Registry::SwapOut(const std::string& name, uint64_t to_bytes, const Caller& caller) {
  EBB_ASSIGN_OR_RETURN(const auto vm, Find(name));
  EBB_RETURN_IF_ERROR(vm->SwapOut(to_bytes));
  NoteOrder(EventKind::kSwapOutAsked, name,
            absl::StrFormat("%s is to be swapped out once, down to %d MiB, asked for %s", name,
                            to_bytes / kMiB, By(caller)));
  return absl::OkStatus();
}

absl::Status Registry::SwapIn(const std::string& name, const Caller& caller) {
  EBB_ASSIGN_OR_RETURN(const auto vm, Find(name));
  EBB_RETURN_IF_ERROR(vm->SwapIn());
  NoteOrder(EventKind::kSwapInAsked, name,
            absl::StrFormat("%s is to be swapped in, asked for %s", name, By(caller)));
  return absl::OkStatus();
}

absl::Status Registry::Detach(const std::string& name, const Caller& caller) {
  EBB_ASSIGN_OR_RETURN(const auto vm, Find(name));
  EBB_ASSIGN_OR_RETURN(Away away, AwayOf(*vm));
  {
    // Before it begins: it may be over soon.
    MutexLock lock(mutex_);
    away_.try_emplace(name, std::move(away)).first->second.may_return = false;
  }
  KeepForReturn(*vm);
  NoteOrder(EventKind::kDetachAsked, name,
            absl::StrFormat("%s is to be detached, asked for %s; to let it return: ebbctl attach "
                            "%s",
                            name, By(caller), name));
  BeginDetach(*vm, "asked for " + By(caller));
  return absl::OkStatus();
}

absl::Status Registry::Attach(const std::string& name, const Caller& caller) {
  EBB_RETURN_IF_ERROR(LetReturn(name));
  NoteOrder(EventKind::kAttachAsked, name,
            absl::StrFormat("%s may return, asked for %s; its library asks within 30 s", name,
                            By(caller)));
  return absl::OkStatus();
}

absl::Status Registry::LetReturn(const std::string& name) {
  MutexLock lock(mutex_);
  const auto away = away_.find(name);
  if (vms_.count(name) != 0) {
    return absl::FailedPreconditionError(
        away == away_.end() ? name + " is attached already"
                            : name + " is being detached; wait until it is, then attach it");
  }
  if (away == away_.end()) {
    return absl::NotFoundError("no VM named \"" + name +
                               "\" was detached; others attach by themselves when they start");
  }
  away->second.may_return = true;
  return absl::OkStatus();
}

absl::Status Registry::CheckMayAttach(const std::string& name, int pid) const {
  MutexLock lock(mutex_);
  const auto away = away_.find(name);
  if (away == away_.end() || away->second.status.pid != pid || away->second.may_return) {
    return absl::OkStatus();
  }
  return absl::FailedPreconditionError("it was detached by hand; to let it return: ebbctl attach " +
                                       name);
}

void Registry::CancelDetach(const std::string& name) {
  MutexLock lock(mutex_);
  away_.erase(name);
}

void Registry::ForgetExited() {
  MutexLock lock(mutex_);
  std::erase_if(away_, [](const auto& entry) { return IsReadable(entry.second.pidfd.get()); });
}

}  // namespace ebb
