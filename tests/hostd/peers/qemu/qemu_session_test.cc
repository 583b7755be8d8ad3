// SPDX-License-Identifier: MIT
#include "hostd/peers/qemu/qemu_session.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <vector>

#include "hostd/base/clock.h"
#include "tests/hostd/peers/qemu/hello.h"

namespace ebb {
namespace {

// A session and the library's end of its socket.
class QemuSessionTest : public testing::Test {
 protected:
  QemuSessionTest() {
    int fds[2] = {-1, -1};
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
    library_ = UniqueFd(fds[1]);
    session_ = std::make_unique<QemuSession>(UniqueFd(fds[0]), PeerCredentials{getpid(), 0}, kNow);
  }

  // Any descriptors do: what they are is looked at later.
  void Send(const wire::Hello& hello, size_t fds = 2) {
    ASSERT_TRUE(SendHello(library_.get(), hello, std::vector<int>(fds, library_.get())));
  }
  void ExpectRefused(const std::string& why) {
    absl::Status error;
    ASSERT_EQ(session_->Receive(&error), OsResult::kFailed);
    EXPECT_NE(error.message().find(why), std::string::npos) << error;
  }

  static constexpr int64_t kNow = 1000 * kNsPerS;
  UniqueFd library_;
  std::unique_ptr<QemuSession> session_;
  wire::Hello hello_ = MakeHello("vm1");
};

TEST_F(QemuSessionTest, SoundHelloIsTaken) {
  Send(hello_);
  absl::Status error;
  EXPECT_EQ(session_->Receive(&error), OsResult::kDone);
  EXPECT_TRUE(error.ok()) << error;
  EXPECT_EQ(session_->vm_name(), "vm1");
  EXPECT_EQ(session_->vm(), nullptr);
}

TEST_F(QemuSessionTest, NothingSentYetIsARetry) {
  absl::Status error;
  EXPECT_EQ(session_->Receive(&error), OsResult::kRetry);
}

TEST_F(QemuSessionTest, LibraryThatClosedIsGone) {
  library_.Reset();
  absl::Status error;
  EXPECT_EQ(session_->Receive(&error), OsResult::kGone);
}

TEST_F(QemuSessionTest, TruncatedHelloOfAnyLengthIsRefused) {
  for (const size_t bytes : {size_t{1}, sizeof(wire::Header), sizeof hello_ - 1}) {
    ASSERT_TRUE(
        SendPacket(library_.get(), std::as_bytes(std::span(&hello_, 1)).subspan(0, bytes), {})
            .ok());
    ExpectRefused("not a hello");
  }
}

TEST_F(QemuSessionTest, OversizedHelloIsRefused) {
  std::vector<std::byte> large(sizeof hello_ + 1);
  std::memcpy(large.data(), &hello_, sizeof hello_);
  ASSERT_TRUE(SendPacket(library_.get(), large, {}).ok());
  ExpectRefused("not a hello");
}

TEST_F(QemuSessionTest, WrongMagicIsRefused) {
  hello_.header.magic ^= 1;
  Send(hello_);
  ExpectRefused("version");
}

TEST_F(QemuSessionTest, OtherVersionIsRefusedNamingBoth) {
  hello_.header.version = 77;
  Send(hello_);
  ExpectRefused("version 77 of the hand-over protocol, this ebbd " +
                std::to_string(wire::kVersion));
}

TEST_F(QemuSessionTest, WrongTypeOrSizeIsRefused) {
  hello_.header.type = static_cast<uint16_t>(wire::MessageType::kAccept);
  Send(hello_);
  ExpectRefused("malformed");
  hello_ = MakeHello("vm1");
  ++hello_.header.size;
  Send(hello_);
  ExpectRefused("malformed");
}

TEST_F(QemuSessionTest, CountsOutOfRangeAreRefused) {
  for (const uint32_t count : {0u, wire::kMaxRamBlocks + 1, UINT32_MAX}) {
    hello_ = MakeHello("vm1");
    hello_.ram_block_count = count;
    Send(hello_);
    ExpectRefused("descriptors");
    hello_ = MakeHello("vm1");
    hello_.memfd_count = count;
    Send(hello_);
    ExpectRefused("descriptors");
  }
}

TEST_F(QemuSessionTest, DescriptorsThatDoNotFitTheCountAreRefused) {
  for (const size_t fds : {0, 1, 3}) {
    Send(hello_, fds);
    ExpectRefused("descriptors");
  }
}

TEST_F(QemuSessionTest, MoreDescriptorsThanAnyHelloHasAreRefused) {
  hello_.memfd_count = wire::kMaxRamBlocks;
  Send(hello_, 2 + wire::kMaxRamBlocks);
  ExpectRefused("not a hello");
}

TEST_F(QemuSessionTest, UnterminatedTextIsRefused) {
  std::fill(std::begin(hello_.vm_name), std::end(hello_.vm_name), 'x');
  Send(hello_);
  ExpectRefused("VM name is not terminated");
  hello_ = MakeHello("vm1");
  std::fill(std::begin(hello_.qmp_path), std::end(hello_.qmp_path), '/');
  Send(hello_);
  ExpectRefused("QMP path is not terminated");
}

TEST_F(QemuSessionTest, NamesThatWouldBeTroubleElsewhereAreRefused) {
  for (const char* name :
       {"", " ", "a b", "../etc", "a/b", "vm\n1", "vm\x01", "v\xc3\xa9", "a%s"}) {
    hello_ = MakeHello(name);
    Send(hello_);
    ExpectRefused("VM name may only have");
    EXPECT_EQ(session_->vm_name(), "") << "a bad name is not repeated in logs";
  }
}

TEST_F(QemuSessionTest, EveryAllowedCharacterAndTheLongestNameAreTaken) {
  for (const std::string& name : {std::string("Az09_.-"), std::string(63, 'n')}) {
    hello_ = MakeHello(name);
    Send(hello_);
    absl::Status error;
    EXPECT_EQ(session_->Receive(&error), OsResult::kDone) << error;
    EXPECT_EQ(session_->vm_name(), name);
  }
}

TEST_F(QemuSessionTest, SessionGoesOnAfterARefusal) {
  hello_.header.magic = 0;
  Send(hello_);
  ExpectRefused("version");
  Send(MakeHello("vm1"));
  absl::Status error;
  EXPECT_EQ(session_->Receive(&error), OsResult::kDone);
}

// Not closed here: that may wait for as long as their owner likes.
TEST_F(QemuSessionTest, DescriptorsOfARefusedHelloAreKeptForSomebodyWhoCanWait) {
  const UniqueFd event(eventfd(0, EFD_CLOEXEC));
  int pipe_fds[2];
  ASSERT_EQ(pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK), 0);
  const UniqueFd reading(pipe_fds[0]);
  UniqueFd writing(pipe_fds[1]);
  hello_.header.version = 77;
  ASSERT_TRUE(SendHello(library_.get(), hello_, {writing.get(), event.get()}));
  writing.Reset();
  ExpectRefused("version");
  char byte;
  EXPECT_LT(read(reading.get(), &byte, 1), 0);
  EXPECT_EQ(session_->TakeDescriptors().size(), 3u) << "and the connection";
  EXPECT_EQ(read(reading.get(), &byte, 1), 0) << "somebody still holds the writing end";
}

TEST_F(QemuSessionTest, OfferCarriesTheDevice) {
  const UniqueFd device(open("/dev/null", O_RDWR | O_CLOEXEC));
  ASSERT_TRUE(session_->SendOffer(device.get()).ok());
  const ServerMessage offer = ReceiveServerMessage(library_.get());
  EXPECT_EQ(offer.result, OsResult::kDone);
  EXPECT_EQ(offer.type, wire::MessageType::kOffer);
  EXPECT_EQ(offer.fds.size(), 1u);
}

TEST_F(QemuSessionTest, RefusalCarriesItsReasonCutToWhatFits) {
  session_->SendRefuse("no room");
  EXPECT_EQ(ReceiveServerMessage(library_.get()).reason, "no room");
  session_->SendRefuse(std::string(1000, 'x'));
  EXPECT_EQ(ReceiveServerMessage(library_.get()).reason, std::string(wire::kReasonBytes - 1, 'x'));
}

TEST_F(QemuSessionTest, LibraryThatDoesNotReadIsNoProblem) {
  for (int i = 0; i < 10000; ++i) session_->SendRefuse("nobody reads this");
  library_.Reset();
  session_->SendRelease();
}

TEST_F(QemuSessionTest, HelloHasFiveSeconds) {
  EXPECT_TRUE(session_->InTime(kNow + 5 * kNsPerS - 1));
  EXPECT_FALSE(session_->InTime(kNow + 5 * kNsPerS));
}

TEST_F(QemuSessionTest, StateOfAKilledDaemonIsRefusedHonestly) {
  hello_.flags = wire::kHelloCarriesState;
  Send(hello_);
  absl::Status error;
  ASSERT_EQ(session_->Receive(&error), OsResult::kDone);
  WakeEvent wake;
  const absl::Status status = session_->Attach(&wake, nullptr, {});
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(session_->vm(), nullptr);
}

TEST_F(QemuSessionTest, FirstDescriptorMustBeAUserfaultfd) {
  Send(hello_);
  absl::Status error;
  ASSERT_EQ(session_->Receive(&error), OsResult::kDone);
  WakeEvent wake;
  const absl::Status status = session_->Attach(&wake, nullptr, {});
  EXPECT_NE(status.message().find("userfaultfd"), std::string::npos) << status;
  EXPECT_EQ(session_->vm(), nullptr);
}

}  // namespace
}  // namespace ebb
