// SPDX-License-Identifier: MIT
// What the commands ask of the daemon, how they wait, and how they end.
#include <gtest/gtest.h>
#include <signal.h>

#include "hostd/base/units.h"
#include "hostd/control/status_json.h"
#include "nlohmann/json.hpp"
#include "tests/hostd/ctl/ebbctl_fixture.h"

namespace ebb {
namespace {

using nlohmann::ordered_json;

using CommandsTest = EbbctlTest;

TEST_F(CommandsTest, JsonIsTheApis) {
  const auto out_of = [this](const std::vector<std::string>& arguments) {
    const Result result = Run(arguments);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return ordered_json::parse(result.out, nullptr, false);
  };
  const VmStatus web = FakeHost::SomeVm("web");
  EXPECT_EQ(out_of({"--json", "status"}), ToJson(host_.Status()));
  EXPECT_EQ(out_of({"list", "--json"}), ordered_json({{"vms", {ToJson(web)}}}));
  EXPECT_EQ(out_of({"show", "--json", "web"}), ToJson(web));
  EXPECT_EQ(out_of({"limit", "web", "1G", "--json"})["limit_bytes"], 1024 * kMiB);
  EXPECT_EQ(out_of({"swap-out", "web", "--to=64M", "--no-wait", "--json"})["swap_out_target_bytes"],
            64 * kMiB);
  EXPECT_EQ(out_of({"swap-in", "web", "--no-wait", "--json"})["swap_in_remaining_bytes"],
            700 * kMiB);
  const Result refused = Run({"show", "db", "--json"});
  EXPECT_EQ(refused.exit_code, 1);
  EXPECT_EQ(ordered_json::parse(refused.out)["error"]["code"], "not_found");
  ExpectContains(refused.err, "db");
}

TEST_F(CommandsTest, LimitIsSetAndLifted) {
  Result result = Run({"limit", "web", "128M"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  ExpectContains(result.out, "web: limited to 128.0 MiB resident; now 255.0 MiB resident");
  ExpectContains(result.out, "ebbctl show web");
  result = Run({"limit", "web", "none"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  ExpectContains(result.out, "web: no limit any more");
  EXPECT_EQ(host_.Orders(), (std::vector<std::string>{"limit web 134217728", "limit web 0"}));
}

TEST_F(CommandsTest, SwapOutWaitsUntilItIsDone) {
  LetSwapOutMove();
  const Result result = Run({"swap-out", "web", "--to", "200M"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.out, "web: swap-out is done; 195.0 MiB resident, 760.0 MiB swapped out\n");
  EXPECT_EQ(result.err, "") << "no progress line unless on a terminal";
  EXPECT_EQ(host_.Vm("web")->swap_out_target_bytes, 0u);
}

TEST_F(CommandsTest, SwapOutWithNothingToDoIsDone) {
  const Result result = Run({"swap-out", "web", "--to", "1G"});
  EXPECT_EQ(result.exit_code, 0);
  ExpectContains(result.out, "nothing to swap out");
}

TEST_F(CommandsTest, SwapOutThatEndsAboveItsTargetSaysSo) {
  host_.OnRead([](VmStatus& vm) {
    vm.swap_out_target_bytes = 0;
    return true;
  });
  const Result result = Run({"swap-out", "web", "--to", "100M"});
  EXPECT_EQ(result.exit_code, 0);
  ExpectContains(result.out, "swap-out ended above 100.0 MiB; 255.0 MiB resident");
}

TEST_F(CommandsTest, NoWaitReturnsAtOnce) {
  Result result = Run({"swap-out", "web", "--to", "64M", "--no-wait"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  ExpectContains(result.out, "web: swap-out to 64.0 MiB resident has begun");
  result = Run({"swap-in", "web", "--no-wait"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  ExpectContains(result.out, "web: swap-in of 700.0 MiB has begun");
}

TEST_F(CommandsTest, SwapInBringsEverythingBack) {
  EXPECT_EQ(Run({"limit", "web", "none"}).exit_code, 0);
  LetSwapInMove(2048 * kMiB);
  const Result result = Run({"swap-in", "web"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.out, "web: swap-in is done; everything is back, 955.0 MiB resident\n");
}

TEST_F(CommandsTest, SwapInThatStopsAtTheLimitSaysWhatToDo) {
  EXPECT_EQ(Run({"limit", "web", "512M"}).exit_code, 0);
  LetSwapInMove(512 * kMiB);
  const Result result = Run({"swap-in", "web"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  ExpectContains(result.out,
                 "web: swap-in stopped at the VM's limit of 512.0 MiB; "
                 "512.0 MiB resident, 443.0 MiB swapped out\n");
  ExpectContains(result.out, "ebbctl limit web none && ebbctl swap-in web\n");
}

TEST_F(CommandsTest, SwapInThatStopsForLackOfHostMemorySaysSo) {
  EXPECT_EQ(Run({"limit", "web", "none"}).exit_code, 0);
  LetSwapInMove(600 * kMiB);
  const Result result = Run({"swap-in", "web"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  ExpectContains(result.out, "The host may be short of memory");
}

TEST_F(CommandsTest, DetachWaitsUntilEverythingIsBack) {
  host_.OnRead([reads = 0](VmStatus& vm) mutable {
    vm.swapped_bytes /= 2;
    if (++reads == 3) vm.state = "detached";
    return true;
  });
  const Result result = Run({"detach", "web"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.out,
            "web: detached; all of its memory is back and Ebb leaves it alone\n"
            "To let it return: ebbctl attach web\n");
  EXPECT_EQ(Run({"show", "web"}).out,
            "web: detached; QEMU (process 4242) runs on without Ebb\n"
            "To let it return: ebbctl attach web\n");
  ExpectContains(Run({"attach", "web"}).out, "web: may return; its library asks within 30 s\n");
}

TEST_F(CommandsTest, DetachThatDoesNotFitSaysSo) {
  host_.OnRead([](VmStatus& vm) {
    vm.state = "running";
    vm.detach_error = "its pages do not fit";
    return true;
  });
  const Result result = Run({"detach", "web"});
  EXPECT_EQ(result.exit_code, 1);
  ExpectContains(result.err, "web stays attached: its pages do not fit");
  ExpectContains(Run({"show", "web"}).out, "The last detach was given up: its pages do not fit\n");
}

TEST_F(CommandsTest, DetachWithoutWaitingReturnsAtOnce) {
  const Result result = Run({"detach", "web", "--no-wait"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  ExpectContains(result.out, "web: detach has begun, 700.0 MiB to bring back\n");
}

TEST_F(CommandsTest, CtrlCStopsOnlyTheWaiting) {
  Process process = Start({"swap-out", "web", "--to", "64M"});
  // The answer to the order is one look at the VM; the second shows that it waits.
  ASSERT_TRUE(host_.WaitForReads(2, std::chrono::nanoseconds(kDeadlineNs)));
  process.Signal(SIGINT);
  const Result result = process.Wait();
  EXPECT_EQ(result.exit_code, 130);
  ExpectContains(result.err, "stopped waiting; the swap-out goes on in ebbd");
  EXPECT_EQ(host_.Vm("web")->swap_out_target_bytes, 64 * kMiB);
}

TEST_F(CommandsTest, WaitingEndsWhenTheVmEnds) {
  // The count lives in the action: the server's thread may still call that after this test's end.
  host_.OnRead([reads = 0](VmStatus&) mutable { return ++reads < 3; });
  const Result result = Run({"swap-out", "web", "--to", "64M"});
  EXPECT_EQ(result.exit_code, 1);
  ExpectContains(result.err, "no VM is called \"web\"");
}

TEST_F(CommandsTest, WaitingEndsWhenTheVmIsHeld) {
  host_.OnRead([](VmStatus& vm) {
    vm.state = "held";
    vm.held_reason = "the disk is gone";
    return true;
  });
  const Result result = Run({"swap-in", "web"});
  EXPECT_EQ(result.exit_code, 1);
  ExpectContains(result.err, "the disk is gone");
}

TEST_F(CommandsTest, WaitingEndsWhenTheDaemonDoes) {
  Process process = Start({"swap-in", "web"});
  ASSERT_TRUE(host_.WaitForReads(2, std::chrono::nanoseconds(kDeadlineNs)));
  server_.reset();
  const Result result = process.Wait();
  EXPECT_EQ(result.exit_code, 3);
  ExpectContains(result.err, path_);
}

TEST_F(CommandsTest, TheDaemonsRefusalIsShown) {
  EXPECT_EQ(Run({"show", "db"}).exit_code, 1);
  EXPECT_EQ(Run({"show", ".."}).exit_code, 1) << "a name, not a step up";
  ExpectContains(Run({"show", ".."}).err, "no VM is called \"..\"");
  host_.Refuse(absl::FailedPreconditionError("the VM is detaching; wait for it"));
  for (const std::vector<std::string>& arguments : {
           std::vector<std::string>{"limit", "web", "1G"},
           std::vector<std::string>{"swap-out", "web", "--to", "1G"},
           std::vector<std::string>{"swap-in", "web"},
       }) {
    const Result result = Run(arguments);
    EXPECT_EQ(result.exit_code, 1) << arguments[0];
    EXPECT_EQ(result.err, "ebbctl: the VM is detaching; wait for it\n");
    EXPECT_EQ(result.out, "");
  }
}

}  // namespace
}  // namespace ebb
