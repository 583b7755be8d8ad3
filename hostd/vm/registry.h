// SPDX-License-Identifier: MIT
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "hostd/base/mutex.h"
#include "hostd/vm/host.h"
#include "hostd/vm/vm.h"

namespace ebb {

// The VMs that are attached, by name, and the Host that control talks to. Thread-safe; no lock is
// held while a VM works.
class Registry : public Host {
 public:
  Registry(std::string version, int64_t started_ns);

  bool Contains(const std::string& name) const;
  void Add(std::shared_ptr<ebb::Vm> vm);
  void Remove(const std::string& name);
  std::vector<std::shared_ptr<ebb::Vm>> All() const;

  void CountDetached();
  void SetStopping(bool stopping);
  void SetStopRefused(std::string reason);

  HostStatus Status() const override;
  std::vector<VmStatus> Vms() const override;
  absl::StatusOr<VmStatus> Vm(const std::string& name) const override;
  absl::Status SetLimit(const std::string& name, uint64_t limit_bytes) override;
  absl::Status SwapOut(const std::string& name, uint64_t to_bytes) override;
  absl::Status SwapIn(const std::string& name) override;

 private:
  absl::StatusOr<std::shared_ptr<ebb::Vm>> Find(const std::string& name) const;

  const std::string version_;
  const int64_t started_ns_;

  mutable Mutex mutex_{"Registry::mutex_"};
  std::map<std::string, std::shared_ptr<ebb::Vm>> vms_ ABSL_GUARDED_BY(mutex_);
  uint64_t detached_vms_ ABSL_GUARDED_BY(mutex_) = 0;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::string stop_refused_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace ebb
