// SPDX-License-Identifier: MIT
#include "hostd/vm/condition_watch.h"

#include <memory>
#include <string>
#include <vector>

#include "hostd/base/log.h"
#include "hostd/base/status_macros.h"
#include "hostd/base/units.h"
#include "hostd/base/wait_checks.h"
#include "hostd/os/process.h"
#include "hostd/os/thread.h"
#include "hostd/vm/attach_check.h"

namespace ebb {
namespace {

constexpr int64_t kIntervalNs = 5 * kNsPerS;

absl::Status Check(const Vm& vm, const std::vector<FileUser>& mappers) {
  EBB_RETURN_IF_ERROR(vm.CheckHealthy());
  return CheckStillAllowed(vm.pid(), vm.ram(), mappers);
}

}  // namespace

ConditionWatch::ConditionWatch(Registry* registry) : registry_(registry) {
  thread_ = std::thread([this] { Run(); });
}

ConditionWatch::~ConditionWatch() {
  stopping_.store(true);
  stop_event_.Set();
  MayWait("for the conditions thread");
  thread_.join();
}

void ConditionWatch::Run() {
  EnterThreadRole("conditions", ThreadRole::kReclaim);
  while (!stopping_.load()) {
    CheckAll();
    WaitReadable(stop_event_.fd(), stop_event_, kIntervalNs);
  }
}

void ConditionWatch::CheckAll() {
  const std::vector<std::shared_ptr<Vm>> vms = registry_->All();
  std::vector<FileId> files;
  for (const auto& vm : vms) {
    files.insert(files.end(), vm->ram().files.begin(), vm->ram().files.end());
  }
  if (files.empty()) return;
  const std::vector<FileUser> mappers = MappersOf(files);
  for (const auto& vm : vms) {
    if (vm->state() != Vm::State::kRunning || vm->exited()) continue;
    const absl::Status found = Check(*vm, mappers);
    if (found.ok() || vm->exited()) continue;
    LogError("vm %s: can no longer be managed: %s. Bringing all of its memory back", vm->name(),
             std::string(found.message()));
    vm->Detach();
  }
}

}  // namespace ebb
