// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "hostd/base/mutex.h"
#include "hostd/base/units.h"
#include "hostd/vm/host.h"

namespace ebb {

// A Host without guests: remembers what it was asked, and answers what a test tells it to.
class FakeHost : public Host {
 public:
  // A VM in the middle of its life: 1 GiB of RAM held to 256 MiB.
  static VmStatus SomeVm(const std::string& name) {
    VmStatus vm;
    vm.name = name;
    vm.pid = 4242;
    vm.state = "running";
    vm.ram_bytes = 1024 * kMiB;
    vm.limit_bytes = 256 * kMiB;
    vm.weight = 100;
    vm.target_bytes = 256 * kMiB;
    vm.resident_bytes = 255 * kMiB;
    vm.swapped_bytes = 700 * kMiB;
    vm.pool_original_bytes = 680 * kMiB;
    vm.pool_compressed_bytes = 340 * kMiB;
    vm.pool_used_bytes = 350 * kMiB;
    vm.same_filled_pages = 5120;
    vm.incompressible_pages = 2560;
    vm.page_word_bytes = 2 * kMiB;
    vm.record_bytes = 3 * kMiB;
    vm.pages_swapped_out = 1234567;
    vm.pages_swapped_in = 654321;
    vm.pages_given_back = 4321;
    vm.pages_discarded = 12;
    vm.faults = 700000;
    vm.zero_faults = 20000;
    vm.write_protect_faults = 4400;
    vm.fault_p50_us = 31.5;
    vm.fault_p99_us = 92.25;
    vm.paced_faults = 3;
    vm.paced_us_total = 12000;
    vm.no_memory_faults = 3;
    vm.barrier_mode = "qmp";
    vm.barriers = 120;
    vm.barrier_p50_ms = 1.25;
    vm.barrier_p99_ms = 4.75;
    vm.barrier_interval_ms = 10000;
    vm.cooling_pages = 4096;
    vm.guarded_pages = 2048;
    vm.ready_pages = 4000;
    vm.reserve_target_pages = 4096;
    return vm;
  }

  // That VM with a half of what it has swapped out on the disk.
  static VmStatus SomeVmOnDisk(const std::string& name) {
    VmStatus vm = SomeVm(name);
    vm.pool_original_bytes = 330 * kMiB;
    vm.pool_compressed_bytes = 165 * kMiB;
    vm.pool_used_bytes = 170 * kMiB;
    vm.disk_bytes = 350 * kMiB;
    vm.disk_used_bytes = 180 * kMiB;
    vm.pages_written_back = 100000;
    vm.pages_read_ahead = 4000;
    return vm;
  }
  // A disk of 1 GiB that is well.
  static TierStatus SomeDisk() {
    TierStatus disk;
    disk.tier = "disk";
    disk.path = "/var/lib/ebb/disk";
    disk.state = "ok";
    disk.max_bytes = 1024 * kMiB;
    disk.taken_bytes = 200 * kMiB;
    disk.used_bytes = 180 * kMiB;
    disk.original_bytes = 350 * kMiB;
    disk.reads = 12345;
    disk.failed_reads = 2;
    disk.written_blocks = 54321;
    disk.failed_writes = 3;
    return disk;
  }

  void SetDisk(const TierStatus& disk) {
    MutexLock lock(mutex_);
    disk_ = {disk};
  }
  void Add(const VmStatus& vm) {
    MutexLock lock(mutex_);
    vms_[vm.name] = vm;
  }
  void Remove(const std::string& name) {
    MutexLock lock(mutex_);
    vms_.erase(name);
  }
  // Every change fails with this until it is Ok again.
  void Refuse(const absl::Status& status) {
    MutexLock lock(mutex_);
    refusal_ = status;
  }
  void SetStopRefused(const std::string& why) {
    MutexLock lock(mutex_);
    stop_refused_ = why;
  }
  // Called each time a VM is asked for, to move it on. An action that returns false removes it.
  void OnRead(std::function<bool(VmStatus&)> action) {
    MutexLock lock(mutex_);
    on_read_ = std::move(action);
  }
  // The orders so far, as "limit web 268435456".
  std::vector<std::string> Orders() const {
    MutexLock lock(mutex_);
    return orders_;
  }
  // Who gave the last order, accepted or not.
  Caller LastCaller() const {
    MutexLock lock(mutex_);
    return last_caller_;
  }
  EventLog& events() {
    MutexLock lock(mutex_);
    return *events_;
  }
  // A daemon that was started later, in which nothing has happened yet.
  void BecomeAnother(int pid) {
    MutexLock lock(mutex_);
    pid_ = pid;
    started_s_ += 60;
    events_ = std::make_shared<EventLog>();
  }
  // How often a VM was asked for.
  int Reads() const {
    MutexLock lock(mutex_);
    return reads_;
  }
  // Whether a VM was asked for this many times within `timeout`.
  bool WaitForReads(int reads, std::chrono::nanoseconds timeout) const {
    const auto deadline = std::chrono::steady_clock::now() + timeout;
    MutexLock lock(mutex_);
    while (reads_ < reads) {
      const auto left = deadline - std::chrono::steady_clock::now();
      if (left.count() <= 0) return false;
      read_.WaitFor(mutex_, left);
    }
    return true;
  }

  HostStatus Status() const override {
    MutexLock lock(mutex_);
    HostStatus host;
    host.version = "0.1.0";
    host.pid = pid_;
    host.uptime_s = 8000.5;
    host.started_s = started_s_;
    host.kernel = "6.1.0-37-amd64";
    host.state = "running";
    host.stop_refused = stop_refused_;
    host.vms = vms_.size();
    host.budget_bytes = budget_bytes_;
    host.detached_vms = 1;
    return host;
  }
  std::vector<VmStatus> Vms() const override {
    MutexLock lock(mutex_);
    std::vector<VmStatus> result;
    for (const auto& [name, vm] : vms_) result.push_back(vm);
    return result;
  }
  std::vector<TierStatus> Tiers() const override {
    MutexLock lock(mutex_);
    TierStatus pool;
    pool.tier = "pool";
    pool.state = "ok";
    pool.max_bytes = 512 * kMiB;
    for (const auto& [name, vm] : vms_) {
      pool.used_bytes += vm.pool_used_bytes;
      pool.original_bytes += vm.pool_original_bytes;
    }
    pool.taken_bytes = pool.used_bytes;
    std::vector<TierStatus> tiers = {pool};
    tiers.insert(tiers.end(), disk_.begin(), disk_.end());
    return tiers;
  }
  absl::StatusOr<VmStatus> Vm(const std::string& name) const override {
    MutexLock lock(mutex_);
    const auto found = vms_.find(name);
    if (found == vms_.end()) return NoSuchVm(name);
    ++reads_;
    read_.NotifyAll();
    const VmStatus vm = found->second;
    if (on_read_ && !on_read_(found->second)) vms_.erase(found);
    return vm;
  }
  EventBatch EventsAfter(uint64_t seq) const override {
    MutexLock lock(mutex_);
    return events_->After(seq);
  }
  absl::Status SetLimit(const std::string& name, uint64_t limit_bytes,
                        const Caller& caller) override {
    MutexLock lock(mutex_);
    return Order(name, caller, absl::StrCat("limit ", name, " ", limit_bytes),
                 [&](VmStatus& vm) { vm.limit_bytes = vm.target_bytes = limit_bytes; });
  }
  absl::Status SetBudget(uint64_t budget_bytes, const Caller& caller) override {
    MutexLock lock(mutex_);
    orders_.push_back(absl::StrCat("budget ", budget_bytes));
    last_caller_ = caller;
    if (refusal_.ok()) budget_bytes_ = budget_bytes;
    return refusal_;
  }
  absl::Status SetGuarantee(const std::string& name, uint64_t guarantee_bytes,
                            const Caller& caller) override {
    MutexLock lock(mutex_);
    return Order(name, caller, absl::StrCat("guarantee ", name, " ", guarantee_bytes),
                 [&](VmStatus& vm) { vm.guarantee_bytes = guarantee_bytes; });
  }
  absl::Status SetWeight(const std::string& name, uint64_t weight, const Caller& caller) override {
    MutexLock lock(mutex_);
    return Order(name, caller, absl::StrCat("weight ", name, " ", weight),
                 [&](VmStatus& vm) { vm.weight = weight; });
  }
  absl::Status SwapOut(const std::string& name, uint64_t to_bytes, const Caller& caller) override {
    MutexLock lock(mutex_);
    return Order(name, caller, absl::StrCat("swap-out ", name, " ", to_bytes), [&](VmStatus& vm) {
      if (vm.resident_bytes > to_bytes) vm.swap_out_target_bytes = to_bytes;
    });
  }
  absl::Status SwapIn(const std::string& name, const Caller& caller) override {
    MutexLock lock(mutex_);
    return Order(name, caller, absl::StrCat("swap-in ", name),
                 [](VmStatus& vm) { vm.swap_in_remaining_bytes = vm.swapped_bytes; });
  }
  absl::Status Detach(const std::string& name, const Caller& caller) override {
    MutexLock lock(mutex_);
    return Order(name, caller, absl::StrCat("detach ", name), [](VmStatus& vm) {
      vm.state = "detaching";
      vm.detach_error.clear();
    });
  }
  absl::Status Attach(const std::string& name, const Caller& caller) override {
    MutexLock lock(mutex_);
    return Order(name, caller, absl::StrCat("attach ", name), [](VmStatus&) {});
  }

 private:
  static absl::Status NoSuchVm(const std::string& name) {
    return absl::NotFoundError(absl::StrCat("no VM is called \"", name, "\""));
  }
  absl::Status Order(const std::string& name, const Caller& caller, const std::string& text,
                     const std::function<void(VmStatus&)>& change)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    orders_.push_back(text);
    last_caller_ = caller;
    if (!refusal_.ok()) return refusal_;
    const auto found = vms_.find(name);
    if (found == vms_.end()) return NoSuchVm(name);
    change(found->second);
    return absl::OkStatus();
  }

  mutable Mutex mutex_;
  mutable CondVar read_;
  mutable std::map<std::string, VmStatus> vms_ ABSL_GUARDED_BY(mutex_);
  mutable int reads_ ABSL_GUARDED_BY(mutex_) = 0;
  std::function<bool(VmStatus&)> on_read_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::string> orders_ ABSL_GUARDED_BY(mutex_);
  Caller last_caller_ ABSL_GUARDED_BY(mutex_);
  uint64_t budget_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  int pid_ ABSL_GUARDED_BY(mutex_) = 77;
  double started_s_ ABSL_GUARDED_BY(mutex_) = 1769900000.25;
  std::shared_ptr<EventLog> events_ ABSL_GUARDED_BY(mutex_) = std::make_shared<EventLog>();
  std::vector<TierStatus> disk_ ABSL_GUARDED_BY(mutex_);
  absl::Status refusal_ ABSL_GUARDED_BY(mutex_);
  std::string stop_refused_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace ebb
