// SPDX-License-Identifier: MIT
#include "hostd/policy/budget_plan.h"

#include <algorithm>
#include <cstddef>

#include "hostd/base/units.h"

namespace ebb {
namespace {

// What a byte costs the host once it is swapped out, until the VM's own pages have shown it: they
// count more the more of them there are.
constexpr double kExpectedPoolShare = 0.5;
constexpr double kExpectedSwapped = 16.0 * kMiB;
// Pages that do not compress cannot make room, however many are taken.
constexpr double kMaxPoolShare = 0.9;

// A VM that has all it uses may take this much more before the next plan.
constexpr uint64_t kMinHeadroomBytes = 64 * kMiB;
constexpr uint64_t kHeadroomDivisor = 16;

// What one VM costs the host, by how much of it is resident.
class Cost {
 public:
  explicit Cost(const BudgetSignals& vm)
      : used_(static_cast<double>(vm.resident + vm.swapped)),
        bookkeeping_(static_cast<double>(vm.bookkeeping)),
        pool_share_(std::min(
            kMaxPoolShare, (static_cast<double>(vm.pool) + kExpectedPoolShare * kExpectedSwapped) /
                               (static_cast<double>(vm.swapped) + kExpectedSwapped))) {}

  double Of(double resident) const {
    return resident + pool_share_ * std::max(0.0, used_ - resident) + bookkeeping_;
  }
  // The other way round; may be negative.
  double ResidentFor(double host_bytes) const {
    const double memory = host_bytes - bookkeeping_;
    return memory >= used_ ? memory : (memory - pool_share_ * used_) / (1 - pool_share_);
  }

 private:
  const double used_;
  const double bookkeeping_;
  const double pool_share_;
};

// What one VM may be given, in host bytes.
struct Claim {
  double weight = 0;
  double least = 0;
  double wanted = 0;  // all that it uses, and some headroom
  double most = 0;    // all of its RAM
};

uint64_t LeastResident(const BudgetSignals& vm) {
  return std::min(vm.ram, std::max(vm.guarantee, kLeastResidentBytes));
}

Claim ClaimOf(const BudgetSignals& vm) {
  const Cost cost(vm);
  const uint64_t used = vm.resident + vm.swapped;
  Claim claim;
  claim.weight = std::max(1.0, static_cast<double>(vm.weight) * static_cast<double>(vm.ram));
  if (!vm.steerable) {
    claim.least = cost.Of(static_cast<double>(used));  // all of it may be on its way back
    claim.wanted = claim.most = claim.least;
    return claim;
  }
  const uint64_t most = std::min(vm.ram, vm.limit);
  const uint64_t headroom = std::max(kMinHeadroomBytes, used / kHeadroomDivisor);
  const uint64_t wanted = std::min(most, used + headroom);
  claim.least = cost.Of(static_cast<double>(std::min(LeastResident(vm), wanted)));
  claim.wanted = cost.Of(static_cast<double>(wanted));
  claim.most = cost.Of(static_cast<double>(most));
  return claim;
}

using Bound = double Claim::*;

double Sum(const std::vector<Claim>& claims, Bound bound) {
  double sum = 0;
  for (const Claim& claim : claims) sum += claim.*bound;
  return sum;
}

double Given(const Claim& claim, double level, Bound low, Bound high) {
  return std::clamp(level * claim.weight, claim.*low, std::max(claim.*low, claim.*high));
}

// The water level: at which weights, within each VM's bounds, add up to `amount`. The bounds' sums
// must enclose it.
double LevelFor(double amount, const std::vector<Claim>& claims, Bound low, Bound high) {
  double below = 0;
  double above = 0;
  for (const Claim& claim : claims) above = std::max(above, claim.*high / claim.weight);
  // Halving a double 64 times leaves nothing of it that matters in bytes.
  for (int step = 0; step < 64; ++step) {
    const double level = (below + above) / 2;
    double sum = 0;
    for (const Claim& claim : claims) sum += Given(claim, level, low, high);
    (sum < amount ? below : above) = level;
  }
  return below;
}

BudgetShare ShareOf(const BudgetSignals& vm, double host_bytes) {
  BudgetShare share;
  share.host_bytes = static_cast<uint64_t>(host_bytes);
  if (!vm.steerable) return share;
  const double resident = std::max(0.0, Cost(vm).ResidentFor(host_bytes));
  // A guarantee that is not used yet is lent to the others; whoever has it may still take it.
  const uint64_t bytes = std::max(static_cast<uint64_t>(resident), LeastResident(vm));
  if (bytes + kPageBytes < vm.ram) share.resident_bytes = bytes;  // doubles are not exact
  return share;
}

}  // namespace

BudgetPlan PlanBudget(uint64_t budget_bytes, const std::vector<BudgetSignals>& vms) {
  std::vector<Claim> claims;
  claims.reserve(vms.size());
  for (const BudgetSignals& vm : vms) claims.push_back(ClaimOf(vm));

  const auto budget = static_cast<double>(budget_bytes);
  BudgetPlan plan;
  const double least = Sum(claims, &Claim::least);
  if (least > budget) plan.missing_bytes = static_cast<uint64_t>(least - budget);
  const bool all_fits = Sum(claims, &Claim::wanted) <= budget;
  const Bound low = all_fits ? &Claim::wanted : &Claim::least;
  const Bound high = all_fits ? &Claim::most : &Claim::wanted;
  const double level = LevelFor(budget, claims, low, high);
  for (size_t i = 0; i < vms.size(); ++i) {
    plan.shares.push_back(ShareOf(vms[i], Given(claims[i], level, low, high)));
  }
  return plan;
}

}  // namespace ebb
