// SPDX-License-Identifier: MIT
// What ebbctl says when it finds no daemon, or something else.
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstring>
#include <string>
#include <thread>
#include <utility>

#include "hostd/base/unique_fd.h"
#include "tests/hostd/ctl/ebbctl_fixture.h"

namespace ebb {
namespace {

using ControlClientTest = EbbctlTest;

TEST_F(ControlClientTest, SaysWhichSocketAndHowToStartTheDaemon) {
  server_.reset();
  Result result = Run({"list"});
  EXPECT_EQ(result.exit_code, 3);
  EXPECT_EQ(result.out, "");
  ExpectContains(result.err, "cannot reach ebbd at " + path_ + ": No such file or directory");
  ExpectContains(result.err, "ebbd, as root");

  // A socket nobody listens on any more.
  {
    const UniqueFd dead(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path_.data(), path_.size());
    ASSERT_EQ(bind(dead.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  }
  result = Run({"swap-in", "web"});
  EXPECT_EQ(result.exit_code, 3);
  ExpectContains(result.err, "Connection refused");
  unlink(path_.c_str());

  environment_.clear();
  result = Run({"--socket", "/nonexistent/ebb.sock", "status"});
  EXPECT_EQ(result.exit_code, 3);
  ExpectContains(result.err, "/nonexistent/ebb.sock");
  result = Run({"--socket", "/" + std::string(300, 'x'), "status"});
  EXPECT_EQ(result.exit_code, 3);
}

// Answers one connection with `answer`, then hangs up.
class OtherServer {
 public:
  OtherServer(const std::string& path, std::string answer) : answer_(std::move(answer)) {
    listener_ = UniqueFd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.data(), path.size());
    EXPECT_EQ(bind(listener_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address),
              0);
    EXPECT_EQ(listen(listener_.get(), 1), 0);
    thread_ = std::thread([this] {
      const UniqueFd client(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      char request[4096];
      // Fails at once when the test ends without a client: the listener is shut down.
      if (recv(client.get(), request, sizeof request, 0) > 0) {
        send(client.get(), answer_.data(), answer_.size(), MSG_NOSIGNAL);
      }
    });
  }
  ~OtherServer() {
    shutdown(listener_.get(), SHUT_RDWR);
    thread_.join();
  }

 private:
  const std::string answer_;
  UniqueFd listener_;
  std::thread thread_;
};

TEST_F(ControlClientTest, NoticesThatSomethingElseAnswers) {
  server_.reset();
  struct Case {
    const char* answer;
    int exit_code;
    const char* message_part;
  };
  const Case kCases[] = {
      {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 1, "does not speak"},
      {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", 1, "does not speak"},
      {"HTTP/1.1 502 Bad\r\nContent-Length: 2\r\n\r\n{}", 1, "HTTP status 502"},
      {"HTTP/1.1 500 Bad\r\nContent-Length: 11\r\n\r\n{\"error\":1}", 1, "HTTP status 500"},
      {"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{\"vms\":", 3, "cannot reach ebbd"},
      {"SSH-2.0-OpenSSH_9.2\r\n", 3, "cannot reach ebbd"},
      {"", 3, "cannot reach ebbd"},
  };
  for (const Case& c : kCases) {
    SCOPED_TRACE(c.answer);
    {
      OtherServer server(path_, c.answer);
      const Result result = Run({"list"});
      EXPECT_EQ(result.exit_code, c.exit_code) << result.err;
      EXPECT_EQ(result.out, "");
      ExpectContains(result.err, c.message_part);
      ExpectContains(result.err, c.exit_code == 3 || c.message_part[0] == 'd' ? path_ : "ebbd");
    }
    unlink(path_.c_str());
  }
}

TEST_F(ControlClientTest, AnswersOfAnotherVersionAreShownAsFarAsTheyGo) {
  server_.reset();
  {
    OtherServer server(path_,
                       "HTTP/1.1 200 OK\r\nContent-Length: 53\r\n\r\n"
                       "{\"name\":7,\"state\":null,\"ram_bytes\":-1,\"fault_p99\":[]}");
    const Result result = Run({"show", "web"});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    ExpectContains(result.out, "Guest memory");
  }
  unlink(path_.c_str());
}

}  // namespace
}  // namespace ebb
