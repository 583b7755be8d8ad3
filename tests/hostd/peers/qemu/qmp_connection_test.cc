// SPDX-License-Identifier: MIT
#include "hostd/peers/qemu/qmp_connection.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <optional>
#include <string>
#include <vector>

#include "tests/hostd/peers/qemu/qmp_test_server.h"

namespace ebb {
namespace {

constexpr char kGreeting[] =
    R"({"QMP": {"version": {"qemu": {"micro": 0, "minor": 2, "major": 7}}, "capabilities": []}})";

class QmpConnectionTest : public testing::Test {
 protected:
  void ConnectOnly() {
    ASSERT_TRUE(connection_.Connect(server_.path(), server_.pid()).ok());
    ASSERT_TRUE(server_.Accept());
  }
  // Connected and through with capabilities.
  void Negotiate() {
    ConnectOnly();
    ASSERT_TRUE(server_.SendLine(kGreeting));
    ASSERT_NE(server_.ReceiveLine().find("qmp_capabilities"), std::string::npos);
    Say(R"({"return": {}})");
    ASSERT_TRUE(connection_.idle());
  }
  // The server says it and the connection reads it.
  bool Say(const std::string& line) {
    EXPECT_TRUE(server_.SendLine(line));
    return connection_.OnReadable();
  }
  void Ask(const std::string& command = R"({"execute": "query-status"})") {
    connection_.Send(command, [this](bool ok, const std::string& result) {
      ++answers_;
      ok_ = ok;
      result_ = result;
    });
  }
  void ExpectLost() {
    EXPECT_FALSE(connection_.connected());
    EXPECT_FALSE(connection_.idle());
    EXPECT_EQ(connection_.fd(), -1);
  }

  QmpTestServer server_;
  QmpConnection connection_;
  int answers_ = 0;
  bool ok_ = false;
  std::string result_;
};

// ---- Connecting ---------------------------------------------------------------------------------

TEST_F(QmpConnectionTest, IsUsableOnceCapabilitiesAreNegotiated) {
  ConnectOnly();
  EXPECT_TRUE(connection_.connected());
  EXPECT_FALSE(connection_.idle());
  Say(kGreeting);
  EXPECT_FALSE(connection_.idle()) << "a greeting is no answer";
  EXPECT_EQ(server_.ReceiveLine(), R"({"execute": "qmp_capabilities"})");
  Say(R"({"return": {}})");
  EXPECT_TRUE(connection_.idle());
}

TEST_F(QmpConnectionTest, RefusedCapabilitiesEndIt) {
  ConnectOnly();
  Say(kGreeting);
  Say(R"({"error": {"class": "CommandNotFound", "desc": "no"}})");
  ExpectLost();
}

TEST_F(QmpConnectionTest, SocketOfAnotherProcessIsRefusedWithBothPids) {
  const absl::Status status = connection_.Connect(server_.path(), getpid());
  ASSERT_EQ(status.code(), absl::StatusCode::kPermissionDenied);
  EXPECT_NE(status.message().find(std::to_string(server_.pid())), std::string::npos);
  EXPECT_NE(status.message().find(std::to_string(getpid())), std::string::npos);
  ExpectLost();
}

TEST_F(QmpConnectionTest, PathWhereNobodyListensIsRefused) {
  EXPECT_FALSE(connection_.Connect(server_.path() + ".gone", server_.pid()).ok());
  ExpectLost();
}

// ---- Commands and answers -----------------------------------------------------------------------

TEST_F(QmpConnectionTest, AnswerComesAsTheTextOfItsValue) {
  Negotiate();
  Ask();
  EXPECT_FALSE(connection_.idle());
  EXPECT_EQ(server_.ReceiveLine(), R"({"execute": "query-status"})");
  Say(R"({"return": {"status": "running", "n": [1, 2]}})");
  EXPECT_EQ(answers_, 1);
  EXPECT_TRUE(ok_);
  EXPECT_EQ(result_, R"({"n":[1,2],"status":"running"})");
  EXPECT_TRUE(connection_.idle());
}

TEST_F(QmpConnectionTest, ErrorIsAnAnswerThatIsNotOk) {
  Negotiate();
  Ask();
  Say(R"({"error": {"class": "GenericError", "desc": "no"}})");
  EXPECT_EQ(answers_, 1);
  EXPECT_FALSE(ok_);
  EXPECT_TRUE(connection_.idle()) << "the next command may be another";
}

TEST_F(QmpConnectionTest, EventsAreNoAnswers) {
  Negotiate();
  Ask();
  Say(R"({"event": "STOP", "data": {}, "timestamp": {"seconds": 1, "microseconds": 2}})");
  Say(R"({"event": "BLOCK_IO_ERROR", "data": {"device": "return"}})");
  EXPECT_EQ(answers_, 0);
  Say(R"({"return": 5})");
  EXPECT_EQ(answers_, 1);
  EXPECT_EQ(result_, "5");
}

TEST_F(QmpConnectionTest, AnswerInPiecesIsPutTogether) {
  Negotiate();
  Ask();
  for (const char* piece : {"{\"ret", "urn\": \"a", "b\"}"}) {
    server_.Send(piece);
    EXPECT_TRUE(connection_.OnReadable());
    EXPECT_EQ(answers_, 0);
  }
  Say("");
  EXPECT_EQ(result_, "\"ab\"");
}

TEST_F(QmpConnectionTest, SeveralLinesInOneReadAreEachHandled) {
  Negotiate();
  Ask();
  Say("{\"event\": \"A\"}\n{\"return\": 1}\n{\"event\": \"B\"}");
  EXPECT_EQ(answers_, 1);
  EXPECT_TRUE(connection_.idle());
}

TEST_F(QmpConnectionTest, AnswerMayAskTheNextQuestion) {
  Negotiate();
  connection_.Send(R"({"execute": "first"})",
                   [this](bool, const std::string&) { Ask(R"({"execute": "second"})"); });
  server_.ReceiveLine();
  Say(R"({"return": 1})");
  EXPECT_EQ(server_.ReceiveLine(), R"({"execute": "second"})");
  Say(R"({"return": 2})");
  EXPECT_EQ(result_, "2");
}

TEST_F(QmpConnectionTest, AnswerThatNobodyAskedForIsIgnored) {
  Negotiate();
  EXPECT_TRUE(Say(R"({"return": 1})"));
  EXPECT_TRUE(connection_.idle());
}

TEST_F(QmpConnectionTest, NothingToReadIsNoLoss) {
  Negotiate();
  EXPECT_TRUE(connection_.OnReadable());
}

// ---- A QEMU that is not to be trusted -----------------------------------------------------------

TEST_F(QmpConnectionTest, GarbageIsIgnored) {
  Negotiate();
  Ask();
  for (const char* garbage : {"", "}{", "nonsense", "[1, 2]", "null", "\"return\"", "{\"return\"",
                              "\x01\xff\xfe", "{\"re\xc3turn\": 1}"}) {
    EXPECT_TRUE(Say(garbage));
  }
  EXPECT_EQ(answers_, 0);
  Say(R"({"return": 7})");
  EXPECT_EQ(result_, "7");
}

TEST_F(QmpConnectionTest, LineWithoutAnEndIsGivenUpAt1MiB) {
  Negotiate();
  Ask();
  const std::string piece(8192, 'x');
  size_t sent = 0;
  while (connection_.connected() && sent < (4 << 20)) {
    ASSERT_TRUE(server_.Send(piece));
    sent += piece.size();
    connection_.OnReadable();
  }
  EXPECT_LE(sent, (1u << 20) + 2 * piece.size());
  ExpectLost();
  EXPECT_EQ(answers_, 1) << "who waits is told";
  EXPECT_FALSE(ok_);
}

// A parser that recurses over what a peer nests has the peer decide over its stack.
// Each line is short and right, but they do not end: a peer must not have all of ebbd's time.
TEST_F(QmpConnectionTest, EventsWithoutEndAreGivenUp) {
  Negotiate();
  std::string events;
  while (events.size() < 8192) events += "{\"event\": \"RESET\"}\n";
  size_t sent = 0;
  while (connection_.connected() && sent < (64 << 20)) {
    ASSERT_TRUE(server_.Send(events));
    sent += events.size();
    connection_.OnReadable();
  }
  EXPECT_TRUE(connection_.flooded());
  EXPECT_LT(sent, size_t{8 << 20});
  ExpectLost();
}

TEST_F(QmpConnectionTest, ConnectionThatQemuEndsIsNoFlood) {
  Negotiate();
  server_.Disconnect();
  EXPECT_FALSE(connection_.OnReadable());
  EXPECT_FALSE(connection_.flooded());
}

TEST_F(QmpConnectionTest, DeepNestingIsGivenUp) {
  for (const char* bracket : {"[", "{\"a\":"}) {
    Negotiate();
    Ask();
    std::string nested = "{\"return\": ";
    for (int depth = 0; depth < 3000; ++depth) nested += bracket;
    Say(nested);
    ExpectLost();
    EXPECT_FALSE(ok_);
  }
}

TEST_F(QmpConnectionTest, LongLineOfManyBracketsThatAreClosedIsFine) {
  Negotiate();
  Ask();
  std::string flat = "{\"return\": [0";
  for (int i = 0; i < 2000; ++i) flat += ",[]";
  server_.SendLine(flat + "]}");
  while (answers_ == 0 && connection_.OnReadable()) {
  }
  EXPECT_TRUE(ok_);
}

// ---- Losing it ----------------------------------------------------------------------------------

TEST_F(QmpConnectionTest, ClosedByQemuAnswersWhatIsUnderWay) {
  Negotiate();
  Ask();
  server_.Disconnect();
  EXPECT_FALSE(connection_.OnReadable());
  EXPECT_EQ(answers_, 1);
  EXPECT_FALSE(ok_);
  ExpectLost();
}

TEST_F(QmpConnectionTest, CommandOnALostConnectionIsAnsweredAtOnce) {
  Negotiate();
  server_.Disconnect();
  Ask();
  EXPECT_EQ(answers_, 1);
  EXPECT_FALSE(ok_);
  ExpectLost();
}

TEST_F(QmpConnectionTest, ReconnectsAndForgetsHalfALineOfBefore) {
  Negotiate();
  server_.Send("{\"return\": ");
  connection_.OnReadable();
  connection_.Close();
  ExpectLost();
  Negotiate();
  Ask();
  Say(R"({"return": 3})");
  EXPECT_EQ(result_, "3");
}

TEST_F(QmpConnectionTest, QemuThatReadsNothingIsGivenUp) {
  Negotiate();
  const std::string padding(100'000, ' ');
  for (int i = 0; i < 100 && connection_.connected(); ++i) {
    Ask("{\"execute\": \"x\"}" + padding);
    // It answers all the same, so that the next command may be sent.
    if (connection_.connected()) Say(R"({"return": 1})");
  }
  ExpectLost();
}

}  // namespace
}  // namespace ebb
