// SPDX-License-Identifier: MIT
#include "hostd/vm/budget_watch.h"

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "hostd/base/log.h"
#include "hostd/base/units.h"
#include "hostd/policy/budget_plan.h"

namespace ebb {
namespace {

// A guest that grows outruns its plan until the next one, and is slowed down.
constexpr int64_t kPlanIntervalNs = 100 * kNsPerMs;
// Figures go up and down; so many plans must do before a shortage is said to be over.
constexpr int kRoundsUntilEnough = 20;

}  // namespace

// Not at low priority: on a busy host most of all somebody has to say who gets what.
BudgetWatch::BudgetWatch(Registry* registry)
    : registry_(registry), thread_("budget", ThreadRole::kUrgentReclaim, kPlanIntervalNs, [this] {
        Note(ShareBudgetOut(*registry_));
      }) {}

void BudgetWatch::Note(uint64_t missing_bytes) {
  registry_->SetBudgetMissing(missing_bytes);
  if (registry_->budget_bytes() == 0) short_ = false;
  rounds_enough_ = missing_bytes > 0 ? 0 : rounds_enough_ + 1;
  if (missing_bytes > 0 && !short_) {
    short_ = true;
    const std::string message = absl::StrFormat(
        "the budget is %d MiB too small: what is guaranteed, and what the rest takes compressed, "
        "is more. Raise the budget (ebbctl budget SIZE), lower guarantees, or move a VM away",
        (missing_bytes + kMiB - 1) / kMiB);
    LogWarning("%s", message);
    registry_->events().Add(EventKind::kBudgetShort, "", message);
  } else if (short_ && rounds_enough_ >= kRoundsUntilEnough) {
    short_ = false;
    registry_->events().Add(EventKind::kBudgetHolds, "", "the budget is large enough again");
  }
}

uint64_t ShareBudgetOut(Registry& registry) {
  const std::vector<std::shared_ptr<Vm>> vms = registry.All();
  const uint64_t budget_bytes = registry.budget_bytes();
  if (budget_bytes == 0) {
    for (const auto& vm : vms) vm->entitlement().SetPlan({});
    return 0;
  }
  std::vector<BudgetSignals> signals;
  signals.reserve(vms.size());
  for (const auto& vm : vms) signals.push_back(vm->Signals());
  const BudgetPlan plan = PlanBudget(budget_bytes, signals);
  for (size_t i = 0; i < vms.size(); ++i) vms[i]->entitlement().SetPlan(plan.shares[i]);
  return plan.missing_bytes;
}

}  // namespace ebb
