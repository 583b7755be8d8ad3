// SPDX-License-Identifier: MIT
#include "hostd/ctl/progress.h"

#include <gtest/gtest.h>

#include "hostd/base/units.h"
#include "tests/hostd/ctl/ebbctl_fixture.h"

namespace ebb {
namespace {

TEST(ProgressText, SaysHowMuchAndHowFast) {
  EXPECT_EQ(ProgressText("swap-out web", 0, 700 * kMiB, 0.1, 0.1),
            "swap-out web    0 %  0 of 700.0 MiB");
  EXPECT_EQ(ProgressText("swap-out web", 350 * kMiB, 700 * kMiB, 7, 0.2),
            "swap-out web   50 %  350.0 MiB of 700.0 MiB  50.0 MiB/s");
  EXPECT_EQ(ProgressText("swap-out web", 700 * kMiB - 1, 700 * kMiB, 7, 12),
            "swap-out web   99 %  700.0 MiB of 700.0 MiB  nothing moved for 12 s");
  EXPECT_EQ(ProgressText("swap-in web", 9, 0, 1, 0), "swap-in web  100 %  0 of 0");
}

using ProgressTest = EbbctlTest;

TEST_F(ProgressTest, SwapOutShowsProgressOnATerminal) {
  LetSwapOutMove();
  const Result result = RunOnTerminal({"swap-out", "web", "--to", "200M"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  ExpectContains(result.err, "\r\033[Kswap-out web    0 %");
  ExpectContains(result.err, "MiB of 55.0 MiB");
  EXPECT_EQ(result.err.substr(result.err.size() - 4), "\r\033[K") << "the line is cleared";
  ExpectContains(result.out, "swap-out is done");
}

TEST_F(ProgressTest, AnErrorDoesNotEndUpBehindTheProgress) {
  host_.OnRead([reads = 0](VmStatus&) mutable { return ++reads < 3; });
  const Result result = RunOnTerminal({"swap-out", "web", "--to", "64M"});
  EXPECT_EQ(result.exit_code, 1);
  ExpectContains(result.err, "\r\033[Kebbctl: no VM is called");
}

}  // namespace
}  // namespace ebb
