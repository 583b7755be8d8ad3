// SPDX-License-Identifier: MIT
#include "hostd/vm/budget_watch.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "tests/hostd/vm/running_vm.h"

namespace ebb {
namespace {

constexpr Caller kOperator = {0, 4242};
constexpr uint64_t kFullRam = 96 * kMiB;

class BudgetWatchTest : public testing::Test {
 protected:
  // All of its RAM is in use.
  void Add(const std::string& name) {
    registry_.Add(RunningVm::Start(name, BytesToPages(kFullRam), BytesToPages(kFullRam)).vm);
  }
  VmStatus StatusOf(const std::string& name) { return *registry_.Vm(name); }
  int Events(const std::string& kind) {
    const EventBatch batch = registry_.EventsAfter(0);
    return static_cast<int>(
        std::count_if(batch.events.begin(), batch.events.end(),
                      [&](const Event& event) { return EventKindName(event.kind) == kind; }));
  }

  Registry registry_{"1.2.3", MonotonicNs(), 128 * kMiB};
};

TEST_F(BudgetWatchTest, VmsGetTheirPartsAndTheLowestLimitHolds) {
  Add("alpha");
  Add("beta");
  ASSERT_TRUE(registry_.SetWeight("beta", 200, kOperator).ok());
  ASSERT_TRUE(registry_.SetBudget(160 * kMiB, kOperator).ok());
  EXPECT_EQ(ShareBudgetOut(registry_), 0u);
  const VmStatus alpha = StatusOf("alpha");
  const VmStatus beta = StatusOf("beta");
  EXPECT_GT(alpha.planned_bytes, 0u);
  EXPECT_GT(beta.planned_bytes, alpha.planned_bytes);
  EXPECT_LE(alpha.planned_bytes + beta.planned_bytes, 160 * kMiB);
  EXPECT_GT(alpha.target_bytes, 0u);
  EXPECT_LT(alpha.target_bytes, alpha.planned_bytes) << "its pool costs something, too";
  EXPECT_EQ(alpha.limit_bytes, 0u) << "nobody has set one";
}

TEST_F(BudgetWatchTest, GuaranteeIsKeptInFullAboveReclaimsSlack) {
  Add("alpha");
  Add("beta");
  ASSERT_TRUE(registry_.SetGuarantee("beta", 48 * kMiB, kOperator).ok());
  ShareBudgetOut(registry_);
  Residency residency;
  residency.SetLimit(BytesToPages(StatusOf("beta").target_bytes));
  EXPECT_GE(residency.target(), BytesToPages(48 * kMiB) + Reclaim::kMaxTakenTooMuch);
}

TEST_F(BudgetWatchTest, WithoutABudgetNothingIsPlanned) {
  Add("alpha");
  Add("beta");
  ShareBudgetOut(registry_);
  ASSERT_GT(StatusOf("alpha").target_bytes, 0u);
  ASSERT_TRUE(registry_.SetBudget(0, kOperator).ok());
  EXPECT_EQ(ShareBudgetOut(registry_), 0u);
  EXPECT_EQ(StatusOf("alpha").target_bytes, 0u);
  EXPECT_EQ(StatusOf("alpha").planned_bytes, 0u);
}

TEST_F(BudgetWatchTest, VmThatIsBeingLetGoIsNotHeldBack) {
  Add("alpha");
  Add("beta");
  ShareBudgetOut(registry_);
  ASSERT_TRUE(registry_.Detach("alpha", kOperator).ok());
  ShareBudgetOut(registry_);
  EXPECT_EQ(StatusOf("alpha").target_bytes, 0u);
  EXPECT_GT(StatusOf("beta").target_bytes, 0u);
}

TEST_F(BudgetWatchTest, ShortageIsAnEventOnceAndStandsInTheStatus) {
  for (const char* name : {"alpha", "beta", "gamma"}) Add(name);
  for (const char* name : {"alpha", "beta", "gamma"}) {
    ASSERT_TRUE(registry_.SetGuarantee(name, 40 * kMiB, kOperator).ok());
  }
  const BudgetWatch watch(&registry_);
  ASSERT_TRUE(WaitUntil([&] { return registry_.Status().budget_missing_bytes > 0; }));
  ASSERT_TRUE(WaitUntil([&] { return Events("budget_short") > 0; }));
  EXPECT_EQ(Events("budget_holds"), 0);
  ASSERT_TRUE(registry_.SetBudget(512 * kMiB, kOperator).ok());
  ASSERT_TRUE(WaitUntil([&] { return Events("budget_holds") > 0; }));
  EXPECT_EQ(registry_.Status().budget_missing_bytes, 0u);
  EXPECT_EQ(Events("budget_short"), 1);
}

}  // namespace
}  // namespace ebb
