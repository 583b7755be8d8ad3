// SPDX-License-Identifier: MIT
#include "hostd/os/closer.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <utility>
#include <vector>

#include "hostd/base/clock.h"
#include "hostd/base/units.h"

namespace ebb {
namespace {

bool IsClosed(Closer& closer) {
  const int64_t end_ns = MonotonicNs() + 20 * kNsPerS;
  while (closer.waiting() > 0 && MonotonicNs() < end_ns) {
  }
  return closer.waiting() == 0;
}

std::vector<UniqueFd> ListOf(UniqueFd fd) {
  std::vector<UniqueFd> fds;
  fds.push_back(std::move(fd));
  return fds;
}

TEST(Closer, ClosesWhatItIsGiven) {
  std::array<int, 2> pipe_fds;
  ASSERT_EQ(pipe2(pipe_fds.data(), O_CLOEXEC), 0);
  const UniqueFd reading(pipe_fds[0]);
  Closer closer;
  closer.Close({});
  closer.Close(ListOf(UniqueFd(pipe_fds[1])));
  char byte;
  EXPECT_EQ(read(reading.get(), &byte, 1), 0);
  EXPECT_TRUE(IsClosed(closer));
}

TEST(Closer, ItsEndClosesWhatIsLeft) {
  std::array<int, 2> pipe_fds;
  ASSERT_EQ(pipe2(pipe_fds.data(), O_CLOEXEC), 0);
  const UniqueFd reading(pipe_fds[0]);
  { Closer().Close(ListOf(UniqueFd(pipe_fds[1]))); }
  char byte;
  EXPECT_EQ(read(reading.get(), &byte, 1), 0);
}

// A peer can make a close of ours wait for a minute.
TEST(Closer, SocketThatLingersIsClosedAtOnce) {
  const UniqueFd listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t bytes = sizeof address;
  ASSERT_EQ(bind(listener.get(), reinterpret_cast<sockaddr*>(&address), bytes), 0);
  ASSERT_EQ(listen(listener.get(), 1), 0);
  ASSERT_EQ(getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &bytes), 0);
  UniqueFd client(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(connect(client.get(), reinterpret_cast<sockaddr*>(&address), bytes), 0);
  const linger minute = {1, 60};
  ASSERT_EQ(setsockopt(client.get(), SOL_SOCKET, SO_LINGER, &minute, sizeof minute), 0);
  const std::vector<char> data(65536);
  while (send(client.get(), data.data(), data.size(), MSG_DONTWAIT) > 0) {
  }
  Closer closer;
  closer.Close(ListOf(std::move(client)));
  EXPECT_TRUE(IsClosed(closer));
}

}  // namespace
}  // namespace ebb
