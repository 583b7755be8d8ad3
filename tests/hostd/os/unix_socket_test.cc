// SPDX-License-Identifier: MIT
#include "hostd/os/unix_socket.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "hostd/os/listen_socket.h"
#include "tests/hostd/os/child_process.h"
#include "tests/hostd/os/temporary_folder.h"

namespace ebb {
namespace {

size_t OpenDescriptors() {
  size_t count = 0;
  for ([[maybe_unused]] const auto& fd : std::filesystem::directory_iterator("/proc/self/fd")) {
    ++count;
  }
  return count;
}

std::span<const std::byte> Bytes(const std::string& text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

// ---- Packets ------------------------------------------------------------------------------------

class PacketTest : public testing::Test {
 protected:
  void SetUp() override {
    int fds[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
    ours_ = UniqueFd(fds[0]);
    theirs_ = UniqueFd(fds[1]);
  }
  // What a peer that is not SendPacket can send.
  void SendRaw(size_t bytes, size_t fds) {
    const std::vector<char> packet(bytes);
    const std::vector<int> descriptors(fds, STDIN_FILENO);
    std::vector<char> control(CMSG_SPACE(fds * sizeof(int)));
    iovec io = {const_cast<char*>(packet.data()), packet.size()};
    msghdr message = {};
    message.msg_iov = &io;
    message.msg_iovlen = 1;
    if (fds > 0) {
      message.msg_control = control.data();
      message.msg_controllen = control.size();
      cmsghdr* header = CMSG_FIRSTHDR(&message);
      header->cmsg_level = SOL_SOCKET;
      header->cmsg_type = SCM_RIGHTS;
      header->cmsg_len = CMSG_LEN(fds * sizeof(int));
      memcpy(CMSG_DATA(header), descriptors.data(), fds * sizeof(int));
    }
    ASSERT_EQ(sendmsg(theirs_.get(), &message, 0), static_cast<ssize_t>(bytes));
  }
  OsResult Receive(size_t max_fds) {
    return ReceivePacket(ours_.get(), std::as_writable_bytes(std::span(buffer_)), max_fds,
                         &packet_);
  }

  UniqueFd ours_;
  UniqueFd theirs_;
  std::array<char, 64> buffer_ = {};
  ReceivedPacket packet_;
};

TEST_F(PacketTest, ArrivesWithItsDescriptors) {
  int pipe_fds[2];
  ASSERT_EQ(pipe2(pipe_fds, O_CLOEXEC), 0);
  const UniqueFd reading(pipe_fds[0]);
  const UniqueFd writing(pipe_fds[1]);
  ASSERT_TRUE(SendPacket(theirs_.get(), Bytes("hello"), std::span(&pipe_fds[1], 1)).ok());
  ASSERT_EQ(Receive(1), OsResult::kDone);
  EXPECT_EQ(std::string(buffer_.data(), packet_.bytes), "hello");
  ASSERT_EQ(packet_.fds.size(), 1u);
  ASSERT_EQ(write(packet_.fds[0].get(), "x", 1), 1);
  char byte = 0;
  EXPECT_EQ(read(reading.get(), &byte, 1), 1);
  EXPECT_NE(fcntl(packet_.fds[0].get(), F_GETFD) & FD_CLOEXEC, 0);
}

TEST_F(PacketTest, EachReceiveTakesOnePacket) {
  ASSERT_TRUE(SendPacket(theirs_.get(), Bytes("one"), {}).ok());
  ASSERT_TRUE(SendPacket(theirs_.get(), Bytes("three"), {}).ok());
  ASSERT_EQ(Receive(0), OsResult::kDone);
  EXPECT_EQ(packet_.bytes, 3u);
  ASSERT_EQ(Receive(0), OsResult::kDone);
  EXPECT_EQ(packet_.bytes, 5u);
}

TEST_F(PacketTest, NothingThereIsARetry) { EXPECT_EQ(Receive(0), OsResult::kRetry); }

TEST_F(PacketTest, ClosedPeerIsGone) {
  theirs_.Reset();
  EXPECT_EQ(Receive(0), OsResult::kGone);
}

TEST_F(PacketTest, PacketSentBeforeThePeerClosedStillArrives) {
  ASSERT_TRUE(SendPacket(theirs_.get(), Bytes("last words"), {}).ok());
  theirs_.Reset();
  EXPECT_EQ(Receive(0), OsResult::kDone);
  EXPECT_EQ(Receive(0), OsResult::kGone);
}

TEST_F(PacketTest, OversizedPacketIsRefusedAndItsDescriptorsAreTheCallers) {
  const size_t before = OpenDescriptors();
  SendRaw(buffer_.size() + 1, 3);
  EXPECT_EQ(Receive(8), OsResult::kFailed);
  EXPECT_EQ(packet_.fds.size(), 3u);
  packet_.fds.clear();
  EXPECT_EQ(OpenDescriptors(), before);
}

TEST_F(PacketTest, TooManyDescriptorsAreRefusedAndTheCallers) {
  const size_t before = OpenDescriptors();
  SendRaw(5, 4);
  EXPECT_EQ(Receive(3), OsResult::kFailed);
  EXPECT_EQ(packet_.fds.size(), 4u);
  packet_.fds.clear();
  EXPECT_EQ(OpenDescriptors(), before);
}

TEST_F(PacketTest, NoneOfAsManyAsTheKernelSendsIsClosedOnTheWay) {
  const size_t before = OpenDescriptors();
  SendRaw(5, 253);
  EXPECT_EQ(Receive(64), OsResult::kFailed);
  EXPECT_EQ(packet_.fds.size(), 253u);
  packet_.fds.clear();
  EXPECT_EQ(OpenDescriptors(), before);
}

TEST_F(PacketTest, DescriptorsOfAnEmptyPacketAreTheCallers) {
  const size_t before = OpenDescriptors();
  SendRaw(0, 4);
  EXPECT_NE(Receive(8), OsResult::kDone);
  EXPECT_EQ(packet_.fds.size(), 4u);
  packet_.fds.clear();
  EXPECT_EQ(OpenDescriptors(), before);
}

TEST_F(PacketTest, DescriptorsOfAnEarlierPacketAreClosedByTheNext) {
  SendRaw(1, 2);
  SendRaw(1, 0);
  const size_t before = OpenDescriptors();
  ASSERT_EQ(Receive(2), OsResult::kDone);
  ASSERT_EQ(Receive(2), OsResult::kDone);
  EXPECT_TRUE(packet_.fds.empty());
  EXPECT_EQ(OpenDescriptors(), before);
}

TEST_F(PacketTest, PeerThatDoesNotReadIsAnErrorAndNotAWait) {
  const std::vector<char> large(4096);
  absl::Status status;
  for (int i = 0; i < 10000 && status.ok(); ++i) {
    status = SendPacket(theirs_.get(), std::as_bytes(std::span(large)), {});
  }
  EXPECT_FALSE(status.ok());
}

TEST_F(PacketTest, SendingToAClosedPeerIsAnErrorAndNoSignal) {
  ours_.Reset();
  EXPECT_FALSE(SendPacket(theirs_.get(), Bytes("x"), {}).ok());
}

// ---- Connecting ---------------------------------------------------------------------------------

class ConnectTest : public testing::Test {
 protected:
  UniqueFd Listen(SocketType type) {
    auto listener = ListenSocket::Create(path_, type, 0600);
    EXPECT_TRUE(listener.ok()) << listener.status();
    listener_ = *std::move(listener);
    return UniqueFd(dup(listener_.fd()));
  }

  TemporaryFolder folder_;
  const std::string path_ = folder_.File("socket");
  ListenSocket listener_;
};

TEST_F(ConnectTest, ConnectionGetsThroughAndBothKnowWhoTheOtherIs) {
  const UniqueFd listener = Listen(SocketType::kSeqPacket);
  const auto client = ConnectUnix(path_, SocketType::kSeqPacket);
  ASSERT_TRUE(client.ok()) << client.status();
  const auto server = AcceptUnix(listener.get());
  ASSERT_TRUE(server.ok());
  EXPECT_EQ(PeerOf(server->get())->pid, getpid());
  EXPECT_EQ(PeerOf(client->get())->pid, getpid());
  EXPECT_EQ(PeerOf(client->get())->uid, getuid());
}

TEST_F(ConnectTest, PeerOfAnotherProcessIsThatProcess) {
  const UniqueFd listener = Listen(SocketType::kStream);
  const ChildProcess child([this] {
    auto client = ConnectUnix(path_, SocketType::kStream);
    if (!client.ok()) _exit(1);
    client->Release();
  });
  ASSERT_GT(child.pid(), 0);
  const auto server = AcceptUnix(listener.get());
  ASSERT_TRUE(server.ok());
  EXPECT_EQ(PeerOf(server->get())->pid, child.pid());
}

TEST_F(ConnectTest, BothSidesNeverBlockAndAreNotInherited) {
  const UniqueFd listener = Listen(SocketType::kStream);
  const auto client = ConnectUnix(path_, SocketType::kStream);
  const auto server = AcceptUnix(listener.get());
  ASSERT_TRUE(client.ok() && server.ok());
  for (const int fd : {client->get(), server->get()}) {
    EXPECT_NE(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
    EXPECT_NE(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
  }
  EXPECT_FALSE(AcceptUnix(listener.get()).ok()) << "nobody else is there";
}

TEST_F(ConnectTest, ConnectingToNobodyOrByAnotherTypeFails) {
  EXPECT_FALSE(ConnectUnix(path_, SocketType::kStream).ok());
  const UniqueFd listener = Listen(SocketType::kSeqPacket);
  EXPECT_FALSE(ConnectUnix(path_, SocketType::kStream).ok());
}

TEST_F(ConnectTest, PathThatIsTooLongOrEmptyIsRefused) {
  EXPECT_TRUE(UnixAddress(std::string(107, 'x')).ok());
  for (const std::string& path : {std::string(), std::string(108, 'x')}) {
    EXPECT_EQ(UnixAddress(path).status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(ConnectUnix(path, SocketType::kStream).status().code(),
              absl::StatusCode::kInvalidArgument);
  }
}

TEST_F(ConnectTest, GroupThatDoesNotExistIsNamed) {
  EXPECT_FALSE(GroupExists("no-such-group-here"));
  EXPECT_TRUE(GroupExists("root"));
  const auto listener =
      ListenSocket::Create(path_, SocketType::kStream, 0660, "no-such-group-here");
  ASSERT_FALSE(listener.ok());
  EXPECT_NE(listener.status().message().find("no-such-group-here"), std::string::npos);
}

// ---- Streams ------------------------------------------------------------------------------------

class StreamTest : public testing::Test {
 protected:
  void SetUp() override {
    int fds[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    ours_ = UniqueFd(fds[0]);
    theirs_ = UniqueFd(fds[1]);
  }

  UniqueFd ours_;
  UniqueFd theirs_;
  std::array<char, 16> buffer_;
  size_t count_ = 99;
};

TEST_F(StreamTest, BytesArrive) {
  ASSERT_EQ(WriteSome(ours_.get(), std::span("hello", 5), &count_), OsResult::kDone);
  EXPECT_EQ(count_, 5u);
  ASSERT_EQ(ReadSome(theirs_.get(), buffer_, &count_), OsResult::kDone);
  EXPECT_EQ(std::string(buffer_.data(), count_), "hello");
}

TEST_F(StreamTest, NothingToReadIsARetry) {
  EXPECT_EQ(ReadSome(ours_.get(), buffer_, &count_), OsResult::kRetry);
  EXPECT_EQ(count_, 0u);
}

TEST_F(StreamTest, ClosedPeerIsGoneForReadersAndWriters) {
  theirs_.Reset();
  EXPECT_EQ(ReadSome(ours_.get(), buffer_, &count_), OsResult::kGone);
  EXPECT_EQ(WriteSome(ours_.get(), std::span("x", 1), &count_), OsResult::kGone);
}

TEST_F(StreamTest, FullSocketIsARetryAndSaysHowMuchWasWritten) {
  const std::vector<char> large(1 << 20);
  ASSERT_EQ(WriteSome(ours_.get(), large, &count_), OsResult::kDone);
  EXPECT_LT(count_, large.size());
  while (WriteSome(ours_.get(), large, &count_) == OsResult::kDone) {
  }
  EXPECT_EQ(count_, 0u);
}

}  // namespace
}  // namespace ebb
