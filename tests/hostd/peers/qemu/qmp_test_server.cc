// SPDX-License-Identifier: MIT
#include "tests/hostd/peers/qemu/qmp_test_server.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>

#include "hostd/os/unix_socket.h"

namespace ebb {
namespace {

constexpr int kDeadlineMs = 20000;

UniqueFd BoundSocket(const std::string& path) {
  UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const auto address = UnixAddress(path);
  if (!address.ok() ||
      bind(fd.get(), reinterpret_cast<const sockaddr*>(&*address), sizeof *address) != 0) {
    return {};
  }
  return fd;
}

bool IsReady(int fd, short events, int timeout_ms) {
  pollfd wait = {fd, events, 0};
  return poll(&wait, 1, timeout_ms) == 1;
}

}  // namespace

QmpTestServer::QmpTestServer()
    : socket_(BoundSocket(path_)), listener_([this] {
        if (listen(socket_.get(), 8) != 0) _exit(1);
      }) {}

bool QmpTestServer::Accept() {
  if (!IsReady(socket_.get(), POLLIN, kDeadlineMs)) return false;
  connection_ = UniqueFd(accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC));
  received_.clear();
  return connection_.valid();
}

bool QmpTestServer::Send(const std::string& text) {
  return IsReady(connection_.get(), POLLOUT, kDeadlineMs) &&
         send(connection_.get(), text.data(), text.size(), MSG_NOSIGNAL) ==
             static_cast<ssize_t>(text.size());
}

std::string QmpTestServer::ReceiveLine() {
  size_t end;
  while ((end = received_.find('\n')) == std::string::npos) {
    std::array<char, 4096> buffer;
    if (!IsReady(connection_.get(), POLLIN, kDeadlineMs)) return "";
    const ssize_t bytes = read(connection_.get(), buffer.data(), buffer.size());
    if (bytes <= 0) return "";
    received_.append(buffer.data(), static_cast<size_t>(bytes));
  }
  const std::string line = received_.substr(0, end);
  received_.erase(0, end + 1);
  return line;
}

bool QmpTestServer::IsQuiet() {
  return received_.empty() && !IsReady(connection_.get(), POLLIN, 0);
}

}  // namespace ebb
