// SPDX-License-Identifier: MIT
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "hostd/base/mutex.h"
#include "hostd/base/unique_fd.h"
#include "hostd/vm/host.h"
#include "hostd/vm/vm.h"

namespace ebb {

// The VMs that are attached, by name, and the Host that control talks to. Thread-safe; no lock is
// held while a VM works.
class Registry : public Host {
 public:
  // A budget of 0 is none; so is a maximum of all pools together; `disk` may be null.
  Registry(std::string version, int64_t started_ns, uint64_t budget_bytes = 0,
           uint64_t pool_max_bytes = 0, std::unique_ptr<DiskTier> disk = nullptr);

  bool Contains(const std::string& name) const;
  // With the limit it had, if it has been here and may return.
  void Add(std::shared_ptr<ebb::Vm> vm);
  void Remove(const std::string& name);
  std::vector<std::shared_ptr<ebb::Vm>> All() const;

  // Refuses the VM of a process that was detached by hand.
  absl::Status CheckMayAttach(const std::string& name, int pid) const;
  // The VM stays attached after all.
  void CancelDetach(const std::string& name);
  // Call these now and then. The first forgets VMs that were detached by hand and whose QEMU has
  // exited, the second notices which VMs are held, and which no longer are.
  void ForgetExited();
  void LookForHeld(int64_t now_ns);

  // Starts to bring everything back and let go of the VM, because of `why`, unless that is under
  // way.
  void BeginDetach(ebb::Vm& vm, const std::string& why);
  // The same for a VM whose RAM has changed, because of `why`: it may return at once, with the
  // limit it has.
  void Reattach(ebb::Vm& vm, const std::string& why);
  // Counts it, unless it was by hand or to be attached again.
  void NoteDetached(const std::string& name);
  void SetStopping(bool stopping);
  void SetStopRefused(std::string reason);
  EventLog& events() { return events_; }
  HostTiers tiers() { return {&pool_budget_, disk_.get()}; }

  uint64_t budget_bytes() const;
  // By how much the last plan exceeds the budget.
  void SetBudgetMissing(uint64_t bytes);

  HostStatus Status() const override;
  std::vector<VmStatus> Vms() const override;
  absl::StatusOr<VmStatus> Vm(const std::string& name) const override;
  std::vector<TierStatus> Tiers() const override;
  EventBatch EventsAfter(uint64_t seq) const override { return events_.After(seq); }
  absl::Status SetLimit(const std::string& name, uint64_t limit_bytes,
                        const Caller& caller) override;
  absl::Status SetBudget(uint64_t budget_bytes, const Caller& caller) override;
  absl::Status SetGuarantee(const std::string& name, uint64_t guarantee_bytes,
                            const Caller& caller) override;
  absl::Status SetWeight(const std::string& name, uint64_t weight, const Caller& caller) override;
  absl::Status SwapOut(const std::string& name, uint64_t to_bytes, const Caller& caller) override;
  absl::Status SwapIn(const std::string& name, const Caller& caller) override;
  absl::Status Detach(const std::string& name, const Caller& caller) override;
  absl::Status Attach(const std::string& name, const Caller& caller) override;

 private:
  // A VM that was detached by hand or to be attached again, or is about to be.
  struct Away {
    UniqueFd pidfd;
    bool may_return = false;
    VmStatus status;
  };

  absl::StatusOr<std::shared_ptr<ebb::Vm>> Find(const std::string& name) const;
  uint64_t Guaranteed(const std::string& but_to) const;
  void NoteOrder(EventKind kind, const std::string& name, const std::string& message);
  static absl::StatusOr<Away> AwayOf(const ebb::Vm& vm);
  void KeepForReturn(const ebb::Vm& vm);
  absl::Status LetReturn(const std::string& name);
  enum class HeldChange { kNone, kHeld, kNoLonger };
  HeldChange NoteHeld(const std::string& name, bool held, int64_t now_ns);

  const std::string version_;
  const int64_t started_ns_;
  const double started_s_;  // since 1970
  EventLog events_;
  // These outlive the VMs.
  PoolBudget pool_budget_;
  const std::unique_ptr<DiskTier> disk_;

  mutable Mutex mutex_{"Registry::mutex_"};
  std::map<std::string, std::shared_ptr<ebb::Vm>> vms_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, Away> away_ ABSL_GUARDED_BY(mutex_);
  // Those that are held, and since when they no longer seem to be; 0: they are.
  std::map<std::string, int64_t> held_ ABSL_GUARDED_BY(mutex_);
  uint64_t budget_bytes_ ABSL_GUARDED_BY(mutex_);
  uint64_t budget_missing_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t detached_vms_ ABSL_GUARDED_BY(mutex_) = 0;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::string stop_refused_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace ebb
