// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "hostd/base/mutex.h"
#include "hostd/base/units.h"
#include "hostd/policy/budget_plan.h"
#include "hostd/swap/reclaim_alarm.h"
#include "hostd/swap/residency.h"

namespace ebb {

// How much of the host's memory one VM may have: what was ordered by hand, and what is planned for
// it while the host has a budget. The lower of limit and plan holds. Thread-safe.
class Entitlement {
 public:
  // The smallest limit.
  static constexpr uint64_t kMinLimitBytes = kLeastResidentBytes;
  static constexpr uint64_t kMaxWeight = 10000;
  static constexpr uint64_t kDefaultWeight = 100;

  // Orders of people. Bytes.
  struct Orders {
    uint64_t limit = 0;      // of what is resident; 0: none
    uint64_t guarantee = 0;  // stays resident, if it is used; 0: none
    uint64_t weight = kDefaultWeight;
  };

  // `residency` and `alarm` must outlive this.
  Entitlement(std::string vm_name, uint64_t ram_bytes, Residency* residency, ReclaimAlarm* alarm);

  // Errors: InvalidArgument, FailedPrecondition where it contradicts another order.
  absl::Status SetLimit(uint64_t limit_bytes);
  absl::Status SetGuarantee(uint64_t guarantee_bytes);
  absl::Status SetWeight(uint64_t weight);
  // What held for the same VM earlier.
  void Restore(const Orders& orders);
  Orders orders() const;
  // Below this reclaim must not be told to go, in pages, so that the guarantee is kept; 0: none.
  uint64_t floor_pages() const;

  // What is planned; a default BudgetShare where nothing is.
  void SetPlan(const BudgetShare& share);
  BudgetShare plan() const;
  // What reclaim keeps the VM at or below now; 0: nothing.
  uint64_t target_bytes() const;
  // The least limit that goes with a guarantee.
  static uint64_t LimitFor(uint64_t guarantee_bytes);

  // While everything is being brought back nothing else holds.
  void Suspend();
  void Resume();

 private:
  // Unless they contradict each other.
  absl::Status TryGive(const Orders& orders) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Apply() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::string vm_name_;
  const uint64_t ram_bytes_;
  Residency* const residency_;
  ReclaimAlarm* const alarm_;

  mutable Mutex mutex_{"Entitlement::mutex_"};
  Orders orders_ ABSL_GUARDED_BY(mutex_);
  BudgetShare plan_ ABSL_GUARDED_BY(mutex_);
  bool suspended_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace ebb
