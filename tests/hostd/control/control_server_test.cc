// SPDX-License-Identifier: MIT
#include "hostd/control/control_server.h"

#include <dirent.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "hostd/base/clock.h"
#include "hostd/base/unique_fd.h"
#include "hostd/control/routes.h"
#include "nlohmann/json.hpp"
#include "tests/hostd/control/fake_host.h"

namespace ebb {
namespace {

using std::chrono::milliseconds;

// No wait of these tests takes longer, even on a machine that does ten other things.
constexpr int64_t kDeadlineNs = 20 * kNsPerS;

sockaddr_un AddressOf(const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

UniqueFd Connect(const std::string& path) {
  UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const sockaddr_un address = AddressOf(path);
  EXPECT_EQ(connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0)
      << std::strerror(errno);
  return fd;
}

// Waits for `events`; what came, 0 when nothing did in time.
int WaitFor(const UniqueFd& fd, int16_t events, int64_t deadline_ns) {
  const int64_t left_ms = (deadline_ns - MonotonicNs()) / kNsPerMs + 1;
  pollfd poll_fd = {fd.get(), events, 0};
  return poll(&poll_fd, 1, left_ms > 0 ? static_cast<int>(left_ms) : 0) > 0 ? poll_fd.revents : 0;
}

// False when the server has closed the connection.
bool Send(const UniqueFd& fd, const std::string& text) {
  size_t sent = 0;
  while (sent < text.size()) {
    const ssize_t n = send(fd.get(), text.data() + sent, text.size() - sent, MSG_NOSIGNAL);
    if (n <= 0) return false;
    sent += static_cast<size_t>(n);
  }
  return true;
}

// All the server sends until it closes the connection, which it has to within the deadline.
std::string ReadToEnd(const UniqueFd& fd) {
  const int64_t deadline_ns = MonotonicNs() + kDeadlineNs;
  std::string text;
  char buffer[4096];
  while (true) {
    if (WaitFor(fd, POLLIN, deadline_ns) == 0) {
      ADD_FAILURE() << "the server does not close the connection; so far: " << text;
      return text;
    }
    const ssize_t n = recv(fd.get(), buffer, sizeof buffer, 0);
    if (n <= 0) return text;
    text.append(buffer, static_cast<size_t>(n));
  }
}

std::string Request(const std::string& method, const std::string& target,
                    const std::string& body = "", const std::string& headers = "") {
  return method + " " + target + " HTTP/1.1\r\nHost: localhost\r\n" + headers +
         (body.empty() ? "" : "Content-Length: " + std::to_string(body.size()) + "\r\n") + "\r\n" +
         body;
}

int StatusOf(const std::string& response) {
  return response.substr(0, 9) == "HTTP/1.1 " ? std::atoi(response.c_str() + 9) : 0;
}

std::string BodyOf(const std::string& response) {
  const size_t end = response.find("\r\n\r\n");
  return end == std::string::npos ? "" : response.substr(end + 4);
}

std::string Ask(const std::string& path, const std::string& request) {
  const UniqueFd fd = Connect(path);
  Send(fd, request);
  return ReadToEnd(fd);
}

std::string CodeOf(const std::string& response) {
  const auto json = nlohmann::ordered_json::parse(BodyOf(response), nullptr, false);
  return json.is_object() && json.contains("error") ? json["error"]["code"].get<std::string>()
                                                    : "no error in: " + response;
}

int OpenFds() {
  int count = 0;
  DIR* dir = opendir("/proc/self/fd");
  while (readdir(dir) != nullptr) ++count;
  closedir(dir);
  return count;
}

class ControlServerTest : public testing::Test {
 protected:
  ControlServerTest() {
    char name[] = "/tmp/ebb-control-test-XXXXXX";
    dir_ = mkdtemp(name);
    path_ = dir_ + "/control.sock";
    host_.Add(FakeHost::SomeVm("web"));
  }
  ~ControlServerTest() override {
    server_.reset();
    unlink(path_.c_str());
    EXPECT_EQ(rmdir(dir_.c_str()), 0);
  }

  absl::Status Start(milliseconds request_timeout = milliseconds(60000),
                     unsigned max_connections = 64) {
    ControlServerOptions options;
    options.socket_path = path_;
    options.request_timeout = request_timeout;
    options.max_connections = max_connections;
    auto server = ControlServer::Start(host_, options);
    if (!server.ok()) return server.status();
    server_ = *std::move(server);
    return absl::OkStatus();
  }

  // More than one try: with a small timeout a busy machine can be a slow client too.
  void ExpectAlive() {
    const int64_t deadline_ns = MonotonicNs() + kDeadlineNs;
    int status = 0;
    while (status != 200 && MonotonicNs() < deadline_ns) {
      status = StatusOf(Ask(path_, Request("GET", "/v1/status")));
    }
    EXPECT_EQ(status, 200);
  }

  std::string dir_;
  std::string path_;
  FakeHost host_;
  std::unique_ptr<ControlServer> server_;
};

TEST_F(ControlServerTest, AnswersOverTheSocket) {
  ASSERT_TRUE(Start().ok());
  const std::string response = Ask(path_, Request("GET", "/v1/vms/web"));
  EXPECT_EQ(StatusOf(response), 200);
  EXPECT_NE(response.find("\r\nContent-Type: application/json\r\n"), std::string::npos);
  EXPECT_EQ(BodyOf(response), HandleRequest(host_, {"GET", "/v1/vms/web", "", {}}).body + "\n");
}

TEST_F(ControlServerTest, PassesOrdersOn) {
  ASSERT_TRUE(Start().ok());
  EXPECT_EQ(StatusOf(Ask(path_, Request("PUT", "/v1/vms/web/limit", "{\"bytes\":4096}"))), 200);
  EXPECT_EQ(StatusOf(Ask(path_, Request("POST", "/v1/vms/web/swap-in"))), 200);
  EXPECT_EQ(host_.Orders(), (std::vector<std::string>{"limit web 4096", "swap-in web"}));
}

TEST_F(ControlServerTest, KnowsWhoGivesAnOrder) {
  ASSERT_TRUE(Start().ok());
  EXPECT_EQ(StatusOf(Ask(path_, Request("POST", "/v1/vms/web/swap-in"))), 200);
  EXPECT_EQ(host_.LastCaller().pid, getpid());
  EXPECT_EQ(host_.LastCaller().uid, getuid());
  const pid_t child = fork();
  if (child == 0) {
    Ask(path_, Request("POST", "/v1/vms/web/swap-in"));
    _exit(0);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(host_.LastCaller().pid, child);
}

TEST_F(ControlServerTest, NamesTheAllowedMethod) {
  ASSERT_TRUE(Start().ok());
  const std::string response = Ask(path_, Request("DELETE", "/v1/vms/web"));
  EXPECT_EQ(StatusOf(response), 405);
  EXPECT_NE(response.find("\r\nAllow: GET\r\n"), std::string::npos) << response;
}

TEST_F(ControlServerTest, DoesNotDecodePaths) {
  ASSERT_TRUE(Start().ok());
  for (const char* name : {"%77eb", "web%00", "web%00x", "we%zzb", "web?x=%00"}) {
    const std::string response = Ask(path_, Request("GET", std::string("/v1/vms/") + name));
    EXPECT_EQ(StatusOf(response), 400) << name;
    EXPECT_EQ(CodeOf(response), "invalid_argument") << name;
  }
}

TEST_F(ControlServerTest, SocketIsForItsOwnerOnlyAndGoesWithTheServer) {
  const mode_t umask_before = umask(0);
  ASSERT_TRUE(Start().ok());
  umask(umask_before);
  struct stat found;
  ASSERT_EQ(stat(path_.c_str(), &found), 0);
  EXPECT_TRUE(S_ISSOCK(found.st_mode));
  EXPECT_EQ(found.st_mode & 0777, 0600u);
  server_.reset();
  EXPECT_NE(stat(path_.c_str(), &found), 0);
}

TEST_F(ControlServerTest, ASocketThatOnlyShowsRefusesOrders) {
  ControlServerOptions options;
  options.socket_path = path_;
  options.socket_mode = 0666;
  options.orders_go_to = "/run/ebb/control.sock";
  const mode_t umask_before = umask(077);
  auto server = ControlServer::Start(host_, options);
  umask(umask_before);
  ASSERT_TRUE(server.ok()) << server.status();
  struct stat found;
  ASSERT_EQ(stat(path_.c_str(), &found), 0);
  EXPECT_EQ(found.st_mode & 0777, 0666u);
  EXPECT_EQ(StatusOf(Ask(path_, Request("GET", "/v1/vms/web"))), 200);
  for (const std::string& order : {Request("PUT", "/v1/vms/web/limit", "{\"bytes\":1}"),
                                   Request("POST", "/v1/vms/web/swap-in"),
                                   // Announced, never sent.
                                   std::string("PUT /v1/vms/web/limit HTTP/1.1\r\nHost: l\r\n"
                                               "Content-Length: 65537\r\n\r\n")}) {
    const std::string response = Ask(path_, order);
    EXPECT_EQ(StatusOf(response), 403) << response;
    EXPECT_EQ(CodeOf(response), "permission_denied");
    EXPECT_NE(response.find("/run/ebb/control.sock"), std::string::npos) << response;
  }
  // In two parts: the answer waits for the second, so that no client fails at sending it.
  const UniqueFd fd = Connect(path_);
  ASSERT_TRUE(Send(fd,
                   "PUT /v1/vms/web/limit HTTP/1.1\r\nHost: localhost\r\n"
                   "Content-Length: 11\r\n\r\n"));
  EXPECT_EQ(WaitFor(fd, POLLIN, MonotonicNs() + 50 * kNsPerMs), 0);
  EXPECT_TRUE(Send(fd, "{\"bytes\":1}"));
  EXPECT_EQ(StatusOf(ReadToEnd(fd)), 403);
  EXPECT_TRUE(host_.Orders().empty());
}

TEST_F(ControlServerTest, AGroupThatDoesNotExistIsNamed) {
  ControlServerOptions options;
  options.socket_path = path_;
  options.socket_group = "no-such-group";
  const auto server = ControlServer::Start(host_, options);
  ASSERT_FALSE(server.ok());
  EXPECT_NE(server.status().message().find("no-such-group"), std::string::npos);
}

TEST_F(ControlServerTest, ReplacesADeadSocketButNotALivingOne) {
  {
    const UniqueFd dead(socket(AF_UNIX, SOCK_STREAM, 0));
    const sockaddr_un address = AddressOf(path_);
    ASSERT_EQ(bind(dead.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  }
  ASSERT_TRUE(Start().ok());
  ControlServerOptions second;
  second.socket_path = path_;
  const auto refused = ControlServer::Start(host_, second);
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.status().ToString().find("another ebbd"), std::string::npos);
  ExpectAlive();
}

TEST_F(ControlServerTest, RefusesAnOversizedBodyBeforeReadingIt) {
  ASSERT_TRUE(Start().ok());
  const UniqueFd fd = Connect(path_);
  // Announced, never sent: an answer before the timeout shows that nothing was waited for.
  ASSERT_TRUE(Send(fd,
                   "PUT /v1/vms/web/limit HTTP/1.1\r\nHost: localhost\r\n"
                   "Content-Length: 65537\r\n\r\n{\"bytes\":1}"));
  const std::string response = ReadToEnd(fd);
  EXPECT_EQ(StatusOf(response), 413) << response;
  EXPECT_EQ(CodeOf(response), "payload_too_large");
  EXPECT_TRUE(host_.Orders().empty());
}

TEST_F(ControlServerTest, RefusesAnOversizedChunkedBody) {
  ASSERT_TRUE(Start().ok());
  const std::string chunk = "4000\r\n" + std::string(0x4000, ' ') + "\r\n";
  std::string request =
      "PUT /v1/vms/web/limit HTTP/1.1\r\nHost: localhost\r\n"
      "Transfer-Encoding: chunked\r\n\r\n";
  for (int i = 0; i < 5; ++i) request += chunk;
  const std::string response = Ask(path_, request + "0\r\n\r\n");
  EXPECT_EQ(StatusOf(response), 413) << response;
  EXPECT_EQ(CodeOf(response), "payload_too_large");
  EXPECT_TRUE(host_.Orders().empty());
}

TEST_F(ControlServerTest, ReadsASmallChunkedBody) {
  ASSERT_TRUE(Start().ok());
  const std::string response = Ask(path_,
                                   "PUT /v1/vms/web/limit HTTP/1.1\r\nHost: localhost\r\n"
                                   "Transfer-Encoding: chunked\r\n\r\n"
                                   "5\r\n{\"byt\r\n9\r\nes\":4096}\r\n0\r\n\r\n");
  EXPECT_EQ(StatusOf(response), 200) << response;
  EXPECT_EQ(host_.Orders(), std::vector<std::string>{"limit web 4096"});
}

TEST_F(ControlServerTest, StopsReadingABodyWithoutEnd) {
  ASSERT_TRUE(Start().ok());
  const UniqueFd fd = Connect(path_);
  ASSERT_TRUE(Send(fd,
                   "PUT /v1/vms/web/limit HTTP/1.1\r\nHost: localhost\r\n"
                   "Transfer-Encoding: chunked\r\n\r\n"));
  const std::string chunk = "4000\r\n" + std::string(0x4000, ' ') + "\r\n";
  int chunks = 0;
  while (chunks < 10000 && Send(fd, chunk)) ++chunks;
  EXPECT_LT(chunks, 10000) << "160 MB were read";
  ExpectAlive();
}

TEST_F(ControlServerTest, ServesOneRequestAConnection) {
  ASSERT_TRUE(Start().ok());
  const std::string request = Request("GET", "/v1/status", "", "Connection: keep-alive\r\n");
  const std::string response = Ask(path_, request + request);
  EXPECT_EQ(StatusOf(response), 200);
  EXPECT_EQ(response.find("HTTP/1.1", 1), std::string::npos) << response;
}

TEST_F(ControlServerTest, SurvivesGarbage) {
  ASSERT_TRUE(Start(milliseconds(300)).ok());
  std::vector<std::string> garbage = {
      "\r\n\r\n",
      std::string(1, '\0'),
      std::string(100000, 'A'),
      std::string(100000, '\0'),
      std::string(5000, '\n'),
      "GET\r\n\r\n",
      "GET /v1/status\r\n\r\n",
      "GET /v1/status HTTP/9.9\r\nHost: x\r\n\r\n",
      "GET /v1/status HTTP/1.1\r\n\r\n",
      "GET /v1/status HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
      "GET /v1/status HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n",
      "PUT /v1/vms/web/limit HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 11\r\n\r\n"
      "{\"bytes\":1}",
      "PUT /v1/vms/web/limit HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzzz\r\n",
      "GET /" + std::string(100000, 'x') + " HTTP/1.1\r\nHost: x\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: x\r\nA: " + std::string(100000, 'x') + "\r\n\r\n",
      "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  // a TLS hello
  };
  std::string many_headers = "GET /v1/status HTTP/1.1\r\nHost: x\r\n";
  for (int i = 0; i < 5000; ++i) many_headers += "H" + std::to_string(i) + ": v\r\n";
  garbage.push_back(many_headers + "\r\n");
  uint32_t random = 12345;
  for (int i = 0; i < 50; ++i) {
    std::string bytes;
    for (int j = 0; j < 300; ++j) {
      random = random * 1664525 + 1013904223;
      bytes += static_cast<char>(random >> 24);
    }
    garbage.push_back(bytes + "\r\n\r\n");
    garbage.push_back("GET /v1/vms/" + bytes + " HTTP/1.1\r\nHost: x\r\n\r\n");
  }
  for (const std::string& bytes : garbage) {
    const UniqueFd fd = Connect(path_);
    Send(fd, bytes);
    shutdown(fd.get(), SHUT_WR);
    const std::string response = ReadToEnd(fd);
    EXPECT_LT(response.size(), 100000u);
  }
  // Every prefix of a good request, ended there.
  const std::string request = Request("PUT", "/v1/vms/web/limit", "{\"bytes\":1}");
  for (size_t size = 0; size < request.size(); ++size) {
    const UniqueFd fd = Connect(path_);
    Send(fd, request.substr(0, size));
  }
  ExpectAlive();
  EXPECT_TRUE(host_.Orders().empty());
}

TEST_F(ControlServerTest, CutsOffASilentClient) {
  ASSERT_TRUE(Start(milliseconds(200)).ok());
  const int64_t start_ns = MonotonicNs();
  const UniqueFd silent = Connect(path_);
  const UniqueFd half = Connect(path_);
  ASSERT_TRUE(Send(half,
                   "PUT /v1/vms/web/limit HTTP/1.1\r\nHost: localhost\r\n"
                   "Content-Length: 11\r\n\r\n{\"byt"));
  ReadToEnd(silent);
  ReadToEnd(half);
  EXPECT_GE(MonotonicNs() - start_ns, 190 * kNsPerMs);
  EXPECT_TRUE(host_.Orders().empty());
}

TEST_F(ControlServerTest, CutsOffAClientThatTrickles) {
  ASSERT_TRUE(Start(milliseconds(300)).ok());
  const int64_t start_ns = MonotonicNs();
  const UniqueFd fd = Connect(path_);
  ASSERT_TRUE(Send(fd, "GET /v1/status HTTP/1.1\r\nHost: localhost\r\nSlow: "));
  // A byte every 20 ms: never silent for long, and never done.
  while (MonotonicNs() - start_ns < kDeadlineNs && Send(fd, "x")) {
    if (WaitFor(fd, POLLIN, MonotonicNs() + 20 * kNsPerMs) != 0) break;
  }
  EXPECT_LT(MonotonicNs() - start_ns, kDeadlineNs);
  EXPECT_GE(MonotonicNs() - start_ns, 290 * kNsPerMs);
}

TEST_F(ControlServerTest, CutsOffAClientThatDoesNotReadItsAnswer) {
  // Far more than a socket's buffer takes.
  for (int i = 0; i < 2000; ++i) host_.Add(FakeHost::SomeVm("vm" + std::to_string(i)));
  ASSERT_TRUE(Start(milliseconds(300)).ok());
  const UniqueFd fd = Connect(path_);
  ASSERT_TRUE(Send(fd, Request("GET", "/v1/vms")));
  EXPECT_NE(WaitFor(fd, POLLRDHUP, MonotonicNs() + kDeadlineNs) & (POLLRDHUP | POLLHUP), 0);
}

TEST_F(ControlServerTest, SendsALongAnswer) {
  for (int i = 0; i < 2000; ++i) host_.Add(FakeHost::SomeVm("vm" + std::to_string(i)));
  ASSERT_TRUE(Start().ok());
  const auto json =
      nlohmann::ordered_json::parse(BodyOf(Ask(path_, Request("GET", "/v1/vms"))), nullptr, false);
  ASSERT_TRUE(json.is_object());
  EXPECT_EQ(json["vms"].size(), 2001u);
}

TEST_F(ControlServerTest, SlowClientsLockNobodyOut) {
  ASSERT_TRUE(Start(milliseconds(300), /*max_connections=*/2).ok());
  const UniqueFd first = Connect(path_);
  const UniqueFd second = Connect(path_);
  // Waits in the backlog until the two have been cut off.
  ExpectAlive();
}

TEST_F(ControlServerTest, HundredConnectionsLeaveNothingBehind) {
  ASSERT_TRUE(Start().ok());
  ExpectAlive();
  const int fds_before = OpenFds();
  for (int i = 0; i < 100; ++i) {
    ASSERT_EQ(StatusOf(Ask(path_, Request("GET", "/v1/vms/web"))), 200) << i;
  }
  // The server closes its end after the client has seen the end of the stream.
  const int64_t deadline_ns = MonotonicNs() + kDeadlineNs;
  while (OpenFds() > fds_before && MonotonicNs() < deadline_ns) std::this_thread::yield();
  EXPECT_LE(OpenFds(), fds_before);
}

TEST_F(ControlServerTest, ServesClientsInParallel) {
  ASSERT_TRUE(Start().ok());
  std::vector<std::thread> clients;
  std::atomic<int> good{0};
  for (int i = 0; i < 16; ++i) {
    clients.emplace_back([&, i] {
      for (int j = 0; j < 25; ++j) {
        const std::string body = "{\"bytes\":" + std::to_string(i * 100 + j) + "}";
        const std::string request =
            j % 2 == 0 ? Request("GET", "/v1/vms") : Request("PUT", "/v1/vms/web/limit", body);
        if (StatusOf(Ask(path_, request)) == 200) ++good;
      }
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(good, 16 * 25);
  EXPECT_EQ(host_.Orders().size(), 16u * 12u);
}

TEST_F(ControlServerTest, StopsWhileClientsAreConnected) {
  ASSERT_TRUE(Start().ok());
  const UniqueFd silent = Connect(path_);
  const UniqueFd half = Connect(path_);
  ASSERT_TRUE(Send(half, "PUT /v1/vms/web/limit HTTP/1.1\r\nHost: localhost\r\nContent-Len"));
  ExpectAlive();
  server_.reset();
  EXPECT_EQ(ReadToEnd(silent), "");
  EXPECT_EQ(ReadToEnd(half), "");
}

}  // namespace
}  // namespace ebb
