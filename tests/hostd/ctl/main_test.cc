// SPDX-License-Identifier: MIT
// The command line itself.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>

#include <cstdlib>

#include "tests/hostd/ctl/ebbctl_fixture.h"

namespace ebb {
namespace {

using MainTest = EbbctlTest;

TEST_F(MainTest, WrongUsageIsExplainedAndAsksNothing) {
  struct Case {
    std::vector<std::string> arguments;
    const char* message_part;
  };
  const Case kCases[] = {
      {{}, "Usage: ebbctl COMMAND"},
      {{"frobnicate"}, "no command \"frobnicate\"; there are: status, list, show"},
      {{"--frobnicate"}, "--frobnicate"},
      {{"--socket"}, "--socket"},
      {{"--socket", "", "list"}, "--socket is empty"},
      {{"list", "web"}, "this is written: ebbctl list"},
      {{"show"}, "this is written: ebbctl show VM"},
      {{"show", "a", "b"}, "this is written: ebbctl show VM"},
      {{"show", "a/b"}, "not a VM's name"},
      {{"show", ""}, "not a VM's name"},
      {{"swap-in", "w%20"}, "not a VM's name"},
      {{"limit", "web"}, "ebbctl limit VM SIZE|none"},
      {{"limit", "web", "lots"}, "256M"},
      {{"limit", "web", "99999999T"}, "too large"},
      {{"limit", "web", "0"}, "ebbctl limit web none"},
      {{"limit", "w?b", "1G"}, "not a VM's name"},
      {{"swap-out", "web"}, "--to 256M"},
      {{"swap-out", "web", "256M"}, "ebbctl swap-out VM --to SIZE"},
      {{"swap-out", "web", "--to", "1.5"}, "a fraction needs a unit"},
      {{"swap-out", "w b", "--to", "1G"}, "not a VM's name"},
      {{"list", "--to", "1G"}, "list takes no --to"},
      {{"list", "--no-wait"}, "list takes no --no-wait"},
      {{"list", "--output", "x"}, "list takes no --output"},
      {{"list", "-f"}, "list takes no --follow"},
      {{"metrics", "--json"}, "metrics takes no --json"},
      {{"metrics", "--output", ""}, "--output is empty"},
  };
  for (const Case& c : kCases) {
    const Result result = Run(c.arguments);
    SCOPED_TRACE(c.message_part);
    EXPECT_EQ(result.exit_code, 2);
    EXPECT_EQ(result.out, "");
    ExpectContains(result.err, c.message_part);
  }
  EXPECT_TRUE(host_.Orders().empty());
}

TEST_F(MainTest, HelpAndVersionNeedNoDaemon) {
  server_.reset();
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{"--help"}, std::vector<std::string>{"-h"},
        std::vector<std::string>{"help"}}) {
    const Result result = Run(arguments);
    EXPECT_EQ(result.exit_code, 0);
    for (const char* part :
         {"status", "list", "show VM", "limit VM SIZE|none", "swap-out VM --to SIZE [--no-wait]",
          "--socket PATH", "Exit statuses"}) {
      ExpectContains(result.out, part);
    }
    ExpectNoTrailingSpaces(result.out);
  }
  for (const char* command : {"status", "list", "show", "tier", "limit", "swap-out", "swap-in",
                              "detach", "attach", "events", "metrics"}) {
    const Result result = Run({command, "--help"});
    EXPECT_EQ(result.exit_code, 0);
    ExpectContains(result.out, std::string("Usage: ebbctl ") + command);
    EXPECT_EQ(Run({"help", command}).out, result.out);
  }
  const Result version = Run({"--version"});
  EXPECT_EQ(version.exit_code, 0);
  EXPECT_EQ(version.out.substr(0, 7), "ebbctl ");
}

TEST_F(MainTest, TheOptionBeatsTheEnvironment) {
  environment_ = {"EBB_CONTROL_SOCKET=/nonexistent"};
  EXPECT_EQ(Run({"list"}).exit_code, 3);
  EXPECT_EQ(Run({"--socket", path_, "list"}).exit_code, 0);
  EXPECT_EQ(Run({"list", "--socket=" + path_}).exit_code, 0);
}

// What scripts go by. The text of --help is the reference.
TEST_F(MainTest, ExitStatusesAreThoseOfTheHelp) {
  const std::string help = Run({"--help"}).out;
  const auto expect_documented = [&](int exit_code, const char* meaning) {
    std::string line = "\n  " + std::to_string(exit_code);
    line.resize(8, ' ');
    ExpectContains(help, line + meaning);
  };
  EXPECT_EQ(Run({"limit", "web", "1G"}).exit_code, 0);
  expect_documented(0, "done");
  EXPECT_EQ(Run({"show", "db"}).exit_code, 1);
  EXPECT_EQ(Run({"metrics", "--output", "/nonexistent/file"}).exit_code, 1);
  expect_documented(1, "ebbd refused or failed, or the output could not be written");
  EXPECT_EQ(Run({"limit", "web"}).exit_code, 2);
  expect_documented(2, "wrong usage");
  for (const std::vector<std::string>& waiting :
       {std::vector<std::string>{"swap-out", "web", "--to", "64M"},
        std::vector<std::string>{"swap-in", "web"}, std::vector<std::string>{"detach", "web"}}) {
    const int reads = host_.Reads();
    Process process = Start(waiting);
    ASSERT_TRUE(host_.WaitForReads(reads + 2, std::chrono::nanoseconds(kDeadlineNs)));
    process.Signal(SIGINT);
    EXPECT_EQ(process.Wait().exit_code, 130) << waiting[0];
  }
  host_.events().Add(EventKind::kVmHeld, "web", "it burns");
  Process following = Start({"events", "-f"});
  following.ReadUntil("it burns");
  following.Signal(SIGINT);
  EXPECT_EQ(following.Wait().exit_code, 130);
  expect_documented(130, "Ctrl-C while waiting");
  server_.reset();
  EXPECT_EQ(Run({"list"}).exit_code, 3);
  expect_documented(3, "ebbd cannot be reached");
}

TEST_F(MainTest, OutputThatCannotBeWrittenIsAFailure) {
  const std::string command = EbbctlPath() + " --socket " + path_ + " list > /dev/full 2>/dev/null";
  const int status = std::system(command.c_str());
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 1);
}

}  // namespace
}  // namespace ebb
