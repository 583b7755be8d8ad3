// SPDX-License-Identifier: MIT
#include "qemu-plugin/packet.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <vector>

namespace ebb::plugin {
namespace {

wire::Header MakeHeader(wire::MessageType type, uint32_t size) {
  return {.magic = wire::kMagic,
          .version = wire::kVersion,
          .type = static_cast<uint16_t>(type),
          .size = size,
          .reserved = 0};
}

bool IsOpen(int fd) { return fcntl(fd, F_GETFD) >= 0; }

class PacketTest : public testing::Test {
 protected:
  void SetUp() override {
    int ends[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    library_.Reset(ends[0]);
    daemon_.Reset(ends[1]);
    timeval deadline = {.tv_sec = 10, .tv_usec = 0};
    setsockopt(library_.get(), SOL_SOCKET, SO_RCVTIMEO, &deadline, sizeof deadline);
  }

  Received Deliver(const void* message, size_t size) {
    EXPECT_EQ(send(daemon_.get(), message, size, 0), static_cast<ssize_t>(size));
    Packet packet;
    return ReceivePacket(library_.get(), packet);
  }

  OwnedFd library_, daemon_;
};

TEST_F(PacketTest, DeliversAMessageWithItsDescriptors) {
  wire::Header accept = MakeHeader(wire::MessageType::kAccept, sizeof accept);
  ASSERT_TRUE(
      SendPacket(daemon_.get(), &accept, sizeof accept, std::vector<int>{0, 1, 2}.data(), 3));
  int received[3];
  {
    Packet packet;
    ASSERT_EQ(ReceivePacket(library_.get(), packet), Received::kMessage);
    EXPECT_EQ(packet.type(), wire::MessageType::kAccept);
    ASSERT_EQ(packet.fd_count, 3);
    for (int i = 0; i < 3; ++i) {
      received[i] = packet.fds[i].get();
      EXPECT_EQ(fcntl(received[i], F_GETFD), FD_CLOEXEC);
    }
  }
  for (int fd : received) EXPECT_FALSE(IsOpen(fd));
}

TEST_F(PacketTest, DescriptorsBeyondTheProtocolAreNotKept) {
  wire::Header accept = MakeHeader(wire::MessageType::kAccept, sizeof accept);
  const int lowest_free = dup(0);
  close(lowest_free);
  std::vector<int> many(16, 0);
  ASSERT_TRUE(SendPacket(daemon_.get(), &accept, sizeof accept, many.data(), many.size()));
  {
    Packet packet;
    ASSERT_EQ(ReceivePacket(library_.get(), packet), Received::kMessage);
    EXPECT_EQ(packet.fd_count, Packet::kMaxFds);
  }
  const int lowest_free_now = dup(0);
  close(lowest_free_now);
  EXPECT_EQ(lowest_free_now, lowest_free);
}

TEST_F(PacketTest, EveryHeaderFieldIsChecked) {
  const wire::Header good = MakeHeader(wire::MessageType::kRelease, sizeof good);
  EXPECT_EQ(Deliver(&good, sizeof good), Received::kMessage);
  wire::Header bad = good;
  bad.magic ^= 1;
  EXPECT_EQ(Deliver(&bad, sizeof bad), Received::kMalformed);
  bad = good;
  bad.version += 1;
  EXPECT_EQ(Deliver(&bad, sizeof bad), Received::kMalformed);
  bad = good;
  bad.size += 1;
  EXPECT_EQ(Deliver(&bad, sizeof bad), Received::kMalformed);
  bad = good;
  bad.reserved = 1;
  EXPECT_EQ(Deliver(&bad, sizeof bad), Received::kMalformed);
  for (uint16_t type :
       {uint16_t{0}, static_cast<uint16_t>(wire::MessageType::kHello), uint16_t{6}}) {
    bad = good;
    bad.type = type;
    EXPECT_EQ(Deliver(&bad, sizeof bad), Received::kMalformed) << type;
  }
}

TEST_F(PacketTest, WrongSizesAreMalformed) {
  wire::Refuse refuse = {};
  refuse.header = MakeHeader(wire::MessageType::kRefuse, sizeof refuse);
  EXPECT_EQ(Deliver(&refuse, sizeof refuse), Received::kMessage);
  EXPECT_EQ(Deliver(&refuse, sizeof refuse - 1), Received::kMalformed);
  EXPECT_EQ(Deliver(&refuse, 1), Received::kMalformed);
  // The size is right for a packet, wrong for its type.
  refuse.header.type = static_cast<uint16_t>(wire::MessageType::kAccept);
  EXPECT_EQ(Deliver(&refuse, sizeof refuse), Received::kMalformed);
  // Longer than any message: the head alone would look well.
  char longer[sizeof refuse + 1] = {};
  refuse.header = MakeHeader(wire::MessageType::kRefuse, sizeof refuse);
  memcpy(longer, &refuse, sizeof refuse);
  EXPECT_EQ(Deliver(longer, sizeof longer), Received::kMalformed);
}

TEST_F(PacketTest, EndAndSilenceAreToldApart) {
  timeval short_time = {.tv_sec = 0, .tv_usec = 1000};
  setsockopt(library_.get(), SOL_SOCKET, SO_RCVTIMEO, &short_time, sizeof short_time);
  Packet packet;
  EXPECT_EQ(ReceivePacket(library_.get(), packet), Received::kNothing);
  daemon_.Reset();
  EXPECT_EQ(ReceivePacket(library_.get(), packet), Received::kEnd);
}

// ebbd dies with a message of ours unread: the kernel reports a reset before what ebbd had sent.
TEST_F(PacketTest, AcceptOfADyingDaemonIsNotLost) {
  ASSERT_EQ(send(library_.get(), "x", 1, 0), 1);
  wire::Header accept = MakeHeader(wire::MessageType::kAccept, sizeof accept);
  ASSERT_EQ(send(daemon_.get(), &accept, sizeof accept, 0), ssize_t{sizeof accept});
  daemon_.Reset();
  Packet packet;
  EXPECT_EQ(ReceivePacket(library_.get(), packet), Received::kMessage);
  EXPECT_EQ(ReceivePacket(library_.get(), packet), Received::kEnd);
}

}  // namespace
}  // namespace ebb::plugin
