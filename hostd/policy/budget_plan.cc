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
// What is stored saves a quarter; a pool that is sparse for a moment must not seem worthless.
constexpr double kMostPoolShare = 0.9;

// A VM that has all it uses may take this much more before the next plan.
constexpr uint64_t kMinHeadroomBytes = 32 * kMiB;
constexpr uint64_t kHeadroomDivisor = 32;
// So far below a limit reclaim may take a VM: nothing is taken from one that is this far above.
constexpr uint64_t kReclaimSlackBytes = 20 * kMiB;

// Of what it uses, what a VM without a guarantee keeps resident where the budget allows it. The
// pool of a VM that compresses badly may be worth all of its part: it would keep nothing.
constexpr double kFairResidentShare = 0.25;

// What one VM costs the host, by how much of it is resident.
class Cost {
 public:
  explicit Cost(const BudgetSignals& vm)
      : used_(static_cast<double>(vm.resident + vm.swapped)),
        bookkeeping_(static_cast<double>(vm.bookkeeping)),
        most_pool_(static_cast<double>(std::max(vm.pool, vm.most_pool))),
        pool_share_(std::min(
            kMostPoolShare, (static_cast<double>(vm.pool) + kExpectedPoolShare * kExpectedSwapped) /
                                (static_cast<double>(vm.swapped) + kExpectedSwapped))) {}

  double Of(double resident) const {
    const double pool = std::min(most_pool_, pool_share_ * std::max(0.0, used_ - resident));
    return resident + pool + bookkeeping_;
  }
  // The other way round; may be negative.
  double ResidentFor(double host_bytes) const {
    const double memory = host_bytes - bookkeeping_;
    if (memory >= used_) return memory;
    // The pool grows as less is resident, up to its most.
    return std::max((memory - pool_share_ * used_) / (1 - pool_share_), memory - most_pool_);
  }

 private:
  const double used_;
  const double bookkeeping_;
  const double most_pool_;
  const double pool_share_;
};

// What one VM may be given, in host bytes.
struct Claim {
  double weight = 0;
  double low = 0;     // it gets this at least
  double used = 0;    // all that it uses, resident
  double wanted = 0;  // and some headroom
  double most = 0;    // all of its RAM
};

uint64_t UsedBytes(const BudgetSignals& vm) { return vm.resident + vm.swapped; }

// `fair_share`: of what it uses.
uint64_t LeastResident(const BudgetSignals& vm, double fair_share) {
  const auto fair = static_cast<uint64_t>(fair_share * static_cast<double>(UsedBytes(vm)));
  // Reclaim would try in vain, and the VM's faults be slowed down for it.
  const uint64_t stays = vm.incompressible > 0 ? vm.incompressible + kReclaimSlackBytes : 0;
  const uint64_t kept = std::max(std::min(fair, vm.limit), stays);
  return std::min(vm.ram, std::max({vm.guarantee, kLeastResidentBytes, kept}));
}

double LeastCost(const BudgetSignals& vm, double fair_share) {
  const uint64_t least = LeastResident(vm, fair_share);
  return Cost(vm).Of(static_cast<double>(std::min(least, UsedBytes(vm))));
}

// Of one that cannot be steered all may be on its way back.
double LowCost(const BudgetSignals& vm, double fair_share) {
  if (vm.steerable) return LeastCost(vm, fair_share);
  return Cost(vm).Of(static_cast<double>(UsedBytes(vm)));
}

// Halving an interval of doubles so often leaves nothing of it that matters in bytes.
constexpr int kHalvings = 64;

// The largest share up to kFairResidentShare that everybody can keep within the budget.
double FairShare(double budget, const std::vector<BudgetSignals>& vms) {
  const auto fits = [&](double share) {
    double sum = 0;
    for (const BudgetSignals& vm : vms) sum += LowCost(vm, share);
    return sum <= budget;
  };
  if (fits(kFairResidentShare)) return kFairResidentShare;
  double below = 0;
  double above = kFairResidentShare;
  for (int step = 0; step < kHalvings; ++step) {
    const double middle = (below + above) / 2;
    (fits(middle) ? below : above) = middle;
  }
  return below;
}

Claim ClaimOf(const BudgetSignals& vm, double fair_share) {
  const Cost cost(vm);
  const uint64_t used = UsedBytes(vm);
  Claim claim;
  claim.weight = std::max(1.0, static_cast<double>(vm.weight) * static_cast<double>(vm.ram));
  claim.low = LowCost(vm, fair_share);
  claim.used = claim.wanted = claim.most = claim.low;
  if (!vm.steerable) return claim;
  const uint64_t most = std::min(vm.ram, vm.limit);
  const uint64_t wanted =
      std::min(most, used + std::max(kMinHeadroomBytes, used / kHeadroomDivisor));
  claim.used = std::max(claim.low, cost.Of(static_cast<double>(std::min(most, used))));
  claim.wanted = std::max(claim.used, cost.Of(static_cast<double>(wanted)));
  claim.most = std::max(claim.wanted, cost.Of(static_cast<double>(most)));
  return claim;
}

using Bound = double Claim::*;

double Sum(const std::vector<Claim>& claims, Bound bound) {
  double sum = 0;
  for (const Claim& claim : claims) sum += claim.*bound;
  return sum;
}

double Given(const Claim& claim, double level, Bound low, Bound high) {
  return std::clamp(level * claim.weight, claim.*low, claim.*high);
}

// The water level: at which weights, within each VM's bounds, add up to `amount`, or come as close
// as the bounds allow.
double LevelFor(double amount, const std::vector<Claim>& claims, Bound low, Bound high) {
  double below = 0;
  double above = 0;
  for (const Claim& claim : claims) above = std::max(above, claim.*high / claim.weight);
  for (int step = 0; step < kHalvings; ++step) {
    const double level = (below + above) / 2;
    double sum = 0;
    for (const Claim& claim : claims) sum += Given(claim, level, low, high);
    (sum < amount ? below : above) = level;
  }
  return below;
}

BudgetShare ShareOf(const BudgetSignals& vm, double host_bytes, double fair_share) {
  BudgetShare share;
  share.host_bytes = static_cast<uint64_t>(host_bytes);
  if (!vm.steerable) return share;
  const Cost cost(vm);
  const double resident = cost.ResidentFor(host_bytes);
  // A guarantee that is not used yet is lent to the others; whoever has it may still take it.
  const uint64_t bytes =
      std::max(static_cast<uint64_t>(std::max(0.0, resident)), LeastResident(vm, fair_share));
  if (bytes + kPageBytes < vm.ram) share.resident_bytes = bytes;  // doubles are not exact
  return share;
}

}  // namespace

BudgetPlan PlanBudget(uint64_t budget_bytes, const std::vector<BudgetSignals>& vms) {
  const auto budget = static_cast<double>(budget_bytes);
  BudgetPlan plan;
  double least = 0;
  for (const BudgetSignals& vm : vms) least += LeastCost(vm, 0);
  if (least > budget) plan.missing_bytes = static_cast<uint64_t>(least - budget);

  const double fair_share = FairShare(budget, vms);
  std::vector<Claim> claims;
  claims.reserve(vms.size());
  for (const BudgetSignals& vm : vms) claims.push_back(ClaimOf(vm, fair_share));
  // While all that is used fits, nothing is taken from anybody.
  Bound low = &Claim::low;
  Bound high = &Claim::wanted;
  if (Sum(claims, &Claim::wanted) <= budget) {
    low = &Claim::wanted;
    high = &Claim::most;
  } else if (Sum(claims, &Claim::used) <= budget) {
    low = &Claim::used;
  }
  const double level = LevelFor(budget, claims, low, high);
  for (size_t i = 0; i < vms.size(); ++i) {
    plan.shares.push_back(ShareOf(vms[i], Given(claims[i], level, low, high), fair_share));
  }
  return plan;
}

}  // namespace ebb
