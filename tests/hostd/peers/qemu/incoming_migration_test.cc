// SPDX-License-Identifier: MIT
#include "hostd/peers/qemu/incoming_migration.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "hostd/base/units.h"
#include "tests/hostd/os/child_process.h"
#include "tests/hostd/peers/qemu/qmp_test_server.h"

namespace ebb {
namespace {

constexpr char kInMigrate[] = R"({"return": {"status": "inmigrate", "running": false}})";
constexpr char kRunning[] = R"({"return": {"status": "running", "running": true}})";
constexpr char kPaused[] = R"({"return": {"status": "paused", "running": false}})";

class IncomingMigrationTest : public testing::Test {
 protected:
  void Connect() {
    Tick();
    ASSERT_TRUE(server_.Accept());
    Say(R"({"QMP": {}})");
    ASSERT_NE(server_.ReceiveLine().find("qmp_capabilities"), std::string::npos);
    Say(R"({"return": {}})");
  }
  // The peers thread looks at it, much later each time.
  void Tick() { migration_.OnTick(now_ns_ += 10 * kNsPerS); }
  void Say(const std::string& line) {
    ASSERT_TRUE(server_.SendLine(line));
    migration_.OnReadable();
  }
  // QEMU is asked for its run state, and for its migration where that matters.
  void Ask(const char* run_state, const char* migration) {
    Tick();
    ASSERT_NE(server_.ReceiveLine().find("query-status"), std::string::npos);
    Say(run_state);
    if (migration == nullptr) {
      EXPECT_TRUE(server_.IsQuiet());
      return;
    }
    ASSERT_NE(server_.ReceiveLine().find("query-migrate"), std::string::npos);
    Say(migration);
  }

  int64_t now_ns_ = 0;
  QmpTestServer server_;
  IncomingMigration migration_{"web", server_.path(), server_.pid()};
};

TEST_F(IncomingMigrationTest, IsOverWhenTheGuestRunsOnMemoryThatHasAllCome) {
  Connect();
  Ask(kInMigrate, nullptr);
  EXPECT_FALSE(migration_.over());
  Ask(kRunning, R"({"return": {"status": "completed"}})");
  EXPECT_TRUE(migration_.over());
}

TEST_F(IncomingMigrationTest, IsOverForAGuestThatWasPausedWhenItCame) {
  Connect();
  Ask(kPaused, R"({"return": {}})");
  EXPECT_TRUE(migration_.over());
}

TEST_F(IncomingMigrationTest, GoesOnWhileThePagesOfARunningGuestAreStillOnTheirWay) {
  Connect();
  for (const char* status : {"postcopy-active", "postcopy-paused", "postcopy-recover"}) {
    Ask(kRunning, (R"({"return": {"status": ")" + std::string(status) + "\"}}").c_str());
    EXPECT_FALSE(migration_.over()) << status;
  }
}

TEST_F(IncomingMigrationTest, NoAnswerThatIsNotUnderstoodEndsIt) {
  Connect();
  for (const char* answer :
       {R"({"error": {"class": "GenericError", "desc": "no"}})", R"({"return": {}})",
        R"({"return": []})", R"({"return": {"status": 1}})", R"({"return": {"status": ""}})"}) {
    Ask(answer, nullptr);
    EXPECT_FALSE(migration_.over()) << answer;
  }
  Ask(kRunning, R"({"error": {"class": "GenericError", "desc": "no"}})");
  EXPECT_FALSE(migration_.over());
}

TEST_F(IncomingMigrationTest, ALostConnectionIsMadeAnew) {
  Connect();
  server_.Disconnect();
  migration_.OnReadable();
  Connect();
  Ask(kRunning, R"({"return": {"status": "completed"}})");
  EXPECT_TRUE(migration_.over());
}

TEST(IncomingMigration, IsAwaitedByAProcessThatWasStartedForIt) {
  for (const char* argument : {"-incoming", "--incoming"}) {
    const ChildProcess qemu(std::vector<std::string>{"qemu", argument, "defer"});
    ASSERT_GT(qemu.pid(), 0);
    EXPECT_TRUE(IncomingMigration::IsAwaitedBy(qemu.pid()).value());
  }
  const ChildProcess harmless(std::vector<std::string>{"qemu", "-name", "x-incoming"});
  EXPECT_FALSE(IncomingMigration::IsAwaitedBy(harmless.pid()).value());
  ChildProcess gone(std::vector<std::string>{"qemu", "-incoming", "defer"});
  const int pid = gone.pid();
  gone.Kill();
  EXPECT_FALSE(IncomingMigration::IsAwaitedBy(pid).ok()) << "cannot be told";
}

}  // namespace
}  // namespace ebb
