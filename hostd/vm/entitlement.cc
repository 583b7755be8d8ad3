// SPDX-License-Identifier: MIT
#include "hostd/vm/entitlement.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"
#include "hostd/swap/reclaim.h"

namespace ebb {
namespace {

uint64_t RoundedUpMiB(uint64_t bytes) { return (bytes + kMiB - 1) / kMiB; }

uint64_t FloorPages(uint64_t guarantee_bytes) {
  if (guarantee_bytes == 0) return 0;
  return BytesToPages(guarantee_bytes + kPageBytes - 1) + Reclaim::kMaxTakenTooMuch;
}

}  // namespace

Entitlement::Entitlement(std::string vm_name, uint64_t ram_bytes, Residency* residency,
                         ReclaimAlarm* alarm)
    : vm_name_(std::move(vm_name)), ram_bytes_(ram_bytes), residency_(residency), alarm_(alarm) {}

absl::Status Entitlement::SetLimit(uint64_t limit_bytes) {
  if (limit_bytes != 0 && limit_bytes < kMinLimitBytes) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "the limit of %s must be at least %d MiB, or 0 for none", vm_name_, kMinLimitBytes / kMiB));
  }
  MutexLock lock(mutex_);
  Orders orders = orders_;
  orders.limit = limit_bytes;
  return TryGive(orders);
}

absl::Status Entitlement::SetGuarantee(uint64_t guarantee_bytes) {
  if (guarantee_bytes > ram_bytes_) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "%s has %d MiB of RAM; it cannot be guaranteed more", vm_name_, ram_bytes_ / kMiB));
  }
  MutexLock lock(mutex_);
  Orders orders = orders_;
  orders.guarantee = guarantee_bytes;
  return TryGive(orders);
}

// Reclaim goes a little below a limit.
absl::Status Entitlement::TryGive(const Orders& orders) {
  const uint64_t least_bytes = LimitFor(orders.guarantee);
  if (orders.limit != 0 && orders.limit < least_bytes) {
    return absl::FailedPreconditionError(absl::StrFormat(
        "%s cannot be limited to %d MiB and guaranteed %d MiB: that needs a limit of at least %d "
        "MiB, or a lower guarantee",
        vm_name_, orders.limit / kMiB, orders.guarantee / kMiB, RoundedUpMiB(least_bytes)));
  }
  orders_ = orders;
  Apply();
  return absl::OkStatus();
}

absl::Status Entitlement::SetWeight(uint64_t weight) {
  if (weight == 0 || weight > kMaxWeight) {
    return absl::InvalidArgumentError(
        absl::StrFormat("the weight of %s must be from 1 to %d; %d is what every VM has", vm_name_,
                        kMaxWeight, kDefaultWeight));
  }
  MutexLock lock(mutex_);
  orders_.weight = weight;
  return absl::OkStatus();
}

void Entitlement::Restore(const Orders& orders) {
  MutexLock lock(mutex_);
  orders_ = orders;
  Apply();
}

Entitlement::Orders Entitlement::orders() const {
  MutexLock lock(mutex_);
  return orders_;
}

void Entitlement::SetPlan(const BudgetShare& share) {
  MutexLock lock(mutex_);
  plan_ = share;
  Apply();
}

BudgetShare Entitlement::plan() const {
  MutexLock lock(mutex_);
  return plan_;
}

uint64_t Entitlement::target_bytes() const {
  const uint64_t pages = residency_->limit();
  return pages == UINT64_MAX ? 0 : PagesToBytes(pages);
}

uint64_t Entitlement::floor_pages() const {
  MutexLock lock(mutex_);
  return FloorPages(orders_.guarantee);
}

uint64_t Entitlement::LimitFor(uint64_t guarantee_bytes) {
  if (guarantee_bytes == 0) return 0;
  return PagesToBytes(Residency::LimitThatKeeps(FloorPages(guarantee_bytes)));
}

void Entitlement::Suspend() {
  MutexLock lock(mutex_);
  suspended_ = true;
  Apply();
}

void Entitlement::Resume() {
  MutexLock lock(mutex_);
  suspended_ = false;
  Apply();
}

void Entitlement::Apply() {
  const uint64_t limit_bytes = orders_.limit == 0 ? UINT64_MAX : orders_.limit;
  const uint64_t bytes = std::min(limit_bytes, plan_.resident_bytes);
  const uint64_t pages = suspended_ || bytes == UINT64_MAX ? UINT64_MAX : BytesToPages(bytes);
  if (pages == residency_->limit()) return;
  residency_->SetLimit(pages);
  alarm_->RingAlways();
}

}  // namespace ebb
