// SPDX-License-Identifier: MIT
#include "hostd/base/check.h"

#include <gtest/gtest.h>

#include <csignal>

namespace ebb {
namespace {

TEST(Check, TrueConditionGoesOnAndIsEvaluatedOnce) {
  int evaluations = 0;
  EBB_CHECK(++evaluations == 1, "first time");
  EXPECT_EQ(evaluations, 1);
}

TEST(Check, IsOneStatement) {
  bool reached_else = false;
  if (false)
    EBB_CHECK(true, "never here");
  else
    reached_else = true;
  EXPECT_TRUE(reached_else);
}

TEST(CheckDeathTest, FalseConditionAbortsAndSaysWhere) {
  EXPECT_DEATH(EBB_CHECK(1 + 1 == 3, "arithmetic"),
               "CHECK failed at .*check_test.cc:[0-9]+: 1 \\+ 1 == 3: arithmetic");
}

TEST(CheckDeathTest, EndsBySigabrt) {
  EXPECT_EXIT(EBB_CHECK(false, "no"), testing::KilledBySignal(SIGABRT), "");
}

}  // namespace
}  // namespace ebb
