// SPDX-License-Identifier: MIT
#include "hostd/vm/registry.h"

#include <unistd.h>

#include <utility>

#include "hostd/base/clock.h"
#include "hostd/base/status_macros.h"
#include "hostd/base/units.h"
#include "hostd/os/process.h"

namespace ebb {

Registry::Registry(std::string version, int64_t started_ns)
    : version_(std::move(version)), started_ns_(started_ns) {}

bool Registry::Contains(const std::string& name) const {
  MutexLock lock(mutex_);
  return vms_.count(name) != 0;
}

void Registry::Add(std::shared_ptr<ebb::Vm> vm) {
  MutexLock lock(mutex_);
  const std::string name = vm->name();
  vms_.emplace(name, std::move(vm));
}

void Registry::Remove(const std::string& name) {
  // Destroyed behind the lock: the end of a VM waits for its threads.
  decltype(vms_)::node_type removed;
  {
    MutexLock lock(mutex_);
    removed = vms_.extract(name);
  }
}

std::vector<std::shared_ptr<ebb::Vm>> Registry::All() const {
  MutexLock lock(mutex_);
  std::vector<std::shared_ptr<ebb::Vm>> all;
  for (const auto& [name, vm] : vms_) all.push_back(vm);
  return all;
}

void Registry::CountDetached() {
  MutexLock lock(mutex_);
  ++detached_vms_;
}

void Registry::SetStopping(bool stopping) {
  MutexLock lock(mutex_);
  stopping_ = stopping;
}

void Registry::SetStopRefused(std::string reason) {
  MutexLock lock(mutex_);
  stop_refused_ = std::move(reason);
}

HostStatus Registry::Status() const {
  HostStatus status;
  status.version = version_;
  status.pid = getpid();
  status.uptime_s = static_cast<double>(MonotonicNs() - started_ns_) / kNsPerS;
  status.kernel = KernelRelease();
  MutexLock lock(mutex_);
  status.state = stopping_ ? "stopping" : "running";
  status.stop_refused = stop_refused_;
  status.vms = vms_.size();
  status.detached_vms = detached_vms_;
  return status;
}

std::vector<VmStatus> Registry::Vms() const {
  std::vector<VmStatus> statuses;
  for (const auto& vm : All()) statuses.push_back(vm->Status());
  return statuses;
}

absl::StatusOr<std::shared_ptr<ebb::Vm>> Registry::Find(const std::string& name) const {
  MutexLock lock(mutex_);
  const auto found = vms_.find(name);
  if (found == vms_.end()) {
    return absl::NotFoundError("no VM named \"" + name + "\" is attached");
  }
  return found->second;
}

absl::StatusOr<VmStatus> Registry::Vm(const std::string& name) const {
  EBB_ASSIGN_OR_RETURN(const auto vm, Find(name));
  return vm->Status();
}

absl::Status Registry::SetLimit(const std::string& name, uint64_t limit_bytes) {
  EBB_ASSIGN_OR_RETURN(const auto vm, Find(name));
  return vm->SetLimit(limit_bytes);
}

absl::Status Registry::SwapOut(const std::string& name, uint64_t to_bytes) {
  EBB_ASSIGN_OR_RETURN(const auto vm, Find(name));
  return vm->SwapOut(to_bytes);
}

absl::Status Registry::SwapIn(const std::string& name) {
  EBB_ASSIGN_OR_RETURN(const auto vm, Find(name));
  return vm->SwapIn();
}

}  // namespace ebb
