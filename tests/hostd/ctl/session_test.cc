// SPDX-License-Identifier: MIT
#include "hostd/ctl/session.h"

#include <gtest/gtest.h>

#include "tests/hostd/ctl/ebbctl_fixture.h"

namespace ebb {
namespace {

class SessionTest : public EbbctlTest {
 protected:
  Invocation ToServer() const {
    Invocation invocation;
    invocation.socket_path = path_;
    return invocation;
  }
  static int FailureOf(const Session& session, std::string* said) {
    testing::internal::CaptureStderr();
    const int exit_code = session.Fail();
    *said = testing::internal::GetCapturedStderr();
    return exit_code;
  }
};

TEST_F(SessionTest, CallsReturnWhatTheDaemonAnswers) {
  Session session(ToServer());
  const auto vm = session.Call("GET", "/v1/vms/web");
  ASSERT_TRUE(vm.has_value());
  EXPECT_EQ(TextField(*vm, "name"), "web");
}

TEST_F(SessionTest, ARefusalIsTheDaemonsToExplain) {
  Session session(ToServer());
  EXPECT_FALSE(session.Call("GET", "/v1/vms/db"));
  std::string said;
  EXPECT_EQ(FailureOf(session, &said), kExitFailed);
  EXPECT_EQ(said, "ebbctl: no VM is called \"db\"\n");
}

TEST_F(SessionTest, ADaemonThatIsNotThereIsUnreachable) {
  server_.reset();
  Session session(ToServer());
  EXPECT_FALSE(session.Call("GET", "/v1/status"));
  std::string said;
  EXPECT_EQ(FailureOf(session, &said), kExitUnreachable);
  ExpectContains(said, path_);
}

}  // namespace
}  // namespace ebb
