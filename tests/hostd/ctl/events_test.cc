// SPDX-License-Identifier: MIT
#include "hostd/ctl/events.h"

#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>

#include "nlohmann/json.hpp"
#include "tests/hostd/ctl/ebbctl_fixture.h"

namespace ebb {
namespace {

class EventsTest : public EbbctlTest {
 protected:
  void Happen(const std::string& message, int times = 1) {
    for (int i = 0; i < times; ++i) host_.events().Add(EventKind::kVmHeld, "web", message);
  }
  static int LinesOf(const std::string& text) {
    return static_cast<int>(std::count(text.begin(), text.end(), '\n'));
  }
};

TEST_F(EventsTest, AreALineEachWithTheirTime) {
  EXPECT_EQ(Run({"events"}).out, "");
  host_.events().Add(EventKind::kLimitChanged, "web", "web has no limit, set by uid 0, process 7");
  host_.events().Add(EventKind::kAttachRefused, "", "process 9: not attached: \xc2\x9b\xff");
  const Result result = Run({"events"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.err, "");
  ASSERT_EQ(LinesOf(result.out), 2);
  EXPECT_EQ(result.out[23], 'Z') << result.out;
  ExpectContains(result.out, "Z  limit_changed      web has no limit, set by uid 0, process 7\n");
  ExpectContains(result.out, "Z  attach_refused     process 9: not attached: ?\xef\xbf\xbd\n");
}

TEST_F(EventsTest, AreAnObjectALineInJson) {
  Happen("a \xc3\xa9");
  Happen("b");
  const Result result = Run({"events", "--json"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  ASSERT_EQ(LinesOf(result.out), 2);
  const auto first = nlohmann::ordered_json::parse(result.out.substr(0, result.out.find('\n')));
  EXPECT_EQ(first["seq"], 1);
  EXPECT_EQ(first["vm"], "web");
  EXPECT_EQ(first["kind"], "vm_held");
  EXPECT_EQ(first["message"], "a \xc3\xa9");
  ExpectContains(result.out, "a \\u00e9");
}

TEST_F(EventsTest, AllThatIsKeptComesAndWhatIsNotIsSaid) {
  Happen("x", 1030);
  const Result result = Run({"events"});
  EXPECT_EQ(LinesOf(result.out), 1024);
  EXPECT_EQ(result.err, "ebbctl: 6 earlier events are lost: ebbd keeps the last 1024\n");
}

TEST_F(EventsTest, FollowingGoesOnUntilCtrlC) {
  Happen("the first");
  Process process = Start({"events", "-f"});
  process.ReadUntil("the first");
  Happen("the second");
  process.ReadUntil("the second");
  process.Signal(SIGINT);
  const Result result = process.Wait();
  EXPECT_EQ(result.exit_code, 130);
  EXPECT_EQ(LinesOf(result.out), 2) << result.out;
  EXPECT_EQ(result.err, "");
}

TEST_F(EventsTest, FollowingSurvivesARestartOfTheDaemon) {
  Happen("the first", 3);
  Process process = Start({"events", "--follow", "--json"});
  process.ReadUntil("\"seq\":3");
  server_.reset();
  process.ReadUntil("cannot be reached any more; waiting for it\n");
  // The next one has had more events already than the last one had.
  host_.BecomeAnother(88);
  Happen("of the next", 5);
  Restart();
  process.ReadUntil("\"seq\":5");
  process.Signal(SIGINT);
  const Result result = process.Wait();
  EXPECT_EQ(result.exit_code, 130);
  EXPECT_EQ(LinesOf(result.out), 8) << result.out;
  EXPECT_EQ(result.err,
            "ebbctl: ebbd cannot be reached any more; waiting for it\n"
            "ebbctl: ebbd has been started again (process 88); its events follow\n");
}

TEST_F(EventsTest, FollowingNoticesThatTheDaemonIsAnotherOne) {
  Happen("the first");
  Process process = Start({"events", "-f"});
  process.ReadUntil("the first");
  host_.BecomeAnother(88);
  Happen("of the next");
  process.ReadUntil("of the next");
  process.Signal(SIGINT);
  ExpectContains(process.Wait().err, "started again (process 88)");
}

TEST_F(EventsTest, FollowingNeedsADaemonToBeginWith) {
  server_.reset();
  EXPECT_EQ(Run({"events", "-f"}).exit_code, 3);
  EXPECT_EQ(Run({"events"}).exit_code, 3);
}

}  // namespace
}  // namespace ebb
