// SPDX-License-Identifier: MIT
#include "hostd/ctl/entitlements.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/hostd/ctl/ebbctl_fixture.h"

namespace ebb {
namespace {

class EntitlementsTest : public EbbctlTest {};

TEST_F(EntitlementsTest, BudgetIsSetAndLifted) {
  Result result = Run({"budget", "96G"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  ExpectContains(result.out, "All VMs share 96.0 GiB of host memory");
  ExpectContains(Run({"status"}).out, "Budget");
  result = Run({"budget", "none"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  ExpectContains(result.out, "No budget any more");
  EXPECT_EQ(host_.Orders(), (std::vector<std::string>{"budget 103079215104", "budget 0"}));
}

TEST_F(EntitlementsTest, GuaranteeIsSetAndLifted) {
  Result result = Run({"guarantee", "web", "128M"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  ExpectContains(result.out, "web: 128.0 MiB stay resident");
  ExpectContains(Run({"show", "web"}).out, "Guaranteed");
  result = Run({"guarantee", "web", "none"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  ExpectContains(result.out, "web: no guarantee any more");
  EXPECT_EQ(host_.Orders(),
            (std::vector<std::string>{"guarantee web 134217728", "guarantee web 0"}));
}

TEST_F(EntitlementsTest, WeightIsSet) {
  const Result result = Run({"weight", "web", "250"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  ExpectContains(result.out, "web: has a weight of 250 now");
  EXPECT_EQ(host_.Orders(), std::vector<std::string>{"weight web 250"});
}

TEST_F(EntitlementsTest, JsonIsThatOfTheApi) {
  ExpectContains(Run({"budget", "1G", "--json"}).out, "\"budget_bytes\": 1073741824");
  ExpectContains(Run({"weight", "web", "7", "--json"}).out, "\"weight\": 7");
}

TEST_F(EntitlementsTest, WhatMakesNoSenseIsNotSent) {
  for (const std::vector<std::string>& wrong : {std::vector<std::string>{"budget", "0"},
                                                {"budget", "much"},
                                                {"guarantee", "web", "-1"},
                                                {"guarantee", "web", "0"},
                                                {"guarantee", "a/b", "1G"},
                                                {"weight", "web", "+5"},
                                                {"weight", "web", "heavy"},
                                                {"weight", "web", "99999999999999999999"},
                                                {"weight", "a/b", "1"},
                                                {"budget"}}) {
    const Result result = Run(wrong);
    EXPECT_EQ(result.exit_code, 2) << wrong[0];
    EXPECT_NE(result.err, "") << wrong[0];
  }
  EXPECT_TRUE(host_.Orders().empty());
}

TEST_F(EntitlementsTest, RefusalIsShown) {
  host_.Refuse(absl::FailedPreconditionError("the budget is 1024 MiB; web cannot have that"));
  for (const std::vector<std::string>& order : {std::vector<std::string>{"budget", "1G"},
                                                {"guarantee", "web", "2G"},
                                                {"weight", "web", "1"}}) {
    const Result result = Run(order);
    EXPECT_EQ(result.exit_code, 1);
    ExpectContains(result.err, "web cannot have that");
  }
}

TEST_F(EntitlementsTest, PlanIsShown) {
  VmStatus vm = FakeHost::SomeVm("web");
  vm.planned_bytes = 640 * kMiB;
  vm.limit_bytes = 512 * kMiB;
  vm.target_bytes = 200 * kMiB;
  vm.weight = 250;
  host_.Add(vm);
  const Result shown = Run({"show", "web"});
  ExpectContains(shown.out, "Planned");
  ExpectContains(shown.out, "640.0 MiB");
  ExpectContains(shown.out, "by a weight of 250: at most 200.0 MiB resident");
  ExpectContains(Run({"list"}).out, "200.0 MiB");
  vm.limit_bytes = 200 * kMiB + 100;
  host_.Add(vm);
  ExpectContains(Run({"show", "web"}).out, "holds it back no further");
}

}  // namespace
}  // namespace ebb
