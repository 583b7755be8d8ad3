// SPDX-License-Identifier: MIT
#include "hostd/peers/qemu/handover.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <vector>

#include "hostd/base/clock.h"
#include "hostd/os/wake_event.h"
#include "tests/hostd/os/temporary_folder.h"
#include "tests/hostd/peers/qemu/hello.h"

namespace ebb {
namespace {

// ebbd's peers thread, one turn at a time, and connections of this process to it.
class HandoverTest : public testing::Test {
 protected:
  void SetUp() override {
    auto handover =
        Handover::Listen({path_, ""}, UniqueFd(open("/dev/null", O_RDWR | O_CLOEXEC)), &registry_);
    ASSERT_TRUE(handover.ok()) << handover.status();
    handover_ = *std::move(handover);
  }
  UniqueFd Connect() {
    auto socket = ConnectUnix(path_, SocketType::kSeqPacket);
    EXPECT_TRUE(socket.ok()) << socket.status();
    return socket.ok() ? *std::move(socket) : UniqueFd();
  }
  // Connects and takes the offer.
  UniqueFd Greet() {
    UniqueFd library = Connect();
    // Many in a short time are let in with pauses in between.
    const int64_t end_ns = MonotonicNs() + 20 * kNsPerS;
    do {
      handover_->RunOnce();
    } while (!IsReadable(library.get()) && MonotonicNs() < end_ns);
    EXPECT_EQ(ReceiveServerMessage(library.get()).type, wire::MessageType::kOffer);
    return library;
  }
  // The reason for which this hello is refused.
  std::string RefusalOf(const wire::Hello& hello, size_t fds) {
    const UniqueFd library = Greet();
    EXPECT_TRUE(SendHello(library.get(), hello, std::vector<int>(fds, library.get())));
    handover_->RunOnce();
    const ServerMessage answer = ReceiveServerMessage(library.get());
    EXPECT_EQ(answer.type, wire::MessageType::kRefuse);
    return answer.reason;
  }

  TemporaryFolder folder_;
  const std::string path_ = folder_.File("qemu.sock");
  Registry registry_{"test", MonotonicNs()};
  std::unique_ptr<Handover> handover_;
};

TEST_F(HandoverTest, ConnectionGetsTheOfferWithTheDevice) {
  const UniqueFd library = Connect();
  ASSERT_TRUE(handover_->RunOnce());
  const ServerMessage offer = ReceiveServerMessage(library.get());
  EXPECT_EQ(offer.result, OsResult::kDone);
  EXPECT_EQ(offer.type, wire::MessageType::kOffer);
  EXPECT_EQ(offer.fds.size(), 1u);
}

TEST_F(HandoverTest, SecondDaemonAtTheSamePathIsRefused) {
  EXPECT_EQ(Handover::Listen({path_, ""}, UniqueFd(), &registry_).status().code(),
            absl::StatusCode::kAlreadyExists);
}

TEST_F(HandoverTest, MalformedHelloIsRefusedWithItsReasonAndTheNextOneIsServed) {
  wire::Hello wrong_version = MakeHello("vm1");
  wrong_version.header.version = 9;
  EXPECT_NE(RefusalOf(wrong_version, 2).find("version 9"), std::string::npos);
  wire::Hello no_name = MakeHello("");
  EXPECT_NE(RefusalOf(no_name, 2).find("VM name"), std::string::npos);
  EXPECT_NE(RefusalOf(MakeHello("vm1"), 1).find("descriptors"), std::string::npos);
  // Sound in itself, but no userfaultfd comes with it.
  EXPECT_NE(RefusalOf(MakeHello("vm1"), 2).find("userfaultfd"), std::string::npos);
  EXPECT_EQ(registry_.Status().vms, 0u);
  Greet();
}

TEST_F(HandoverTest, RefusalIsOneEventHoweverOftenItIsRepeated) {
  for (int i = 0; i < 3; ++i) RefusalOf(MakeHello("vm1"), 1);
  RefusalOf(MakeHello("vm1"), 2);
  const std::vector<Event> events = registry_.EventsAfter(0).events;
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[0].kind, EventKind::kAttachRefused);
  EXPECT_NE(events[0].message.find("(process " + std::to_string(getpid()) +
                                   "): not attached: its hello does not match"),
            std::string::npos)
      << events[0].message;
  EXPECT_NE(events[0].message.find("docs/LIMITS.md"), std::string::npos);
  EXPECT_NE(events[1].message.find("userfaultfd"), std::string::npos) << events[1].message;
}

TEST_F(HandoverTest, RefusedConnectionIsClosed) {
  const UniqueFd library = Greet();
  ASSERT_TRUE(SendPacket(library.get(), std::as_bytes(std::span("garbage", 7)), {}).ok());
  handover_->RunOnce();
  EXPECT_EQ(ReceiveServerMessage(library.get()).type, wire::MessageType::kRefuse);
  handover_->RequestStop();  // so that the next turn does not wait
  handover_->RunOnce();
  WakeEvent never;
  EXPECT_TRUE(WaitReadable(library.get(), never, 20 * kNsPerS).fd_ready);
  EXPECT_EQ(ReceiveServerMessage(library.get()).result, OsResult::kGone);
}

TEST_F(HandoverTest, LibraryThatClosesWithoutAWordIsForgotten) {
  for (int i = 0; i < 100; ++i) {
    UniqueFd library = Greet();
    library.Reset();
    handover_->RunOnce();
  }
  Greet();
}

TEST_F(HandoverTest, SilentConnectionsPushOutTheOldestAndNeverTheNewest) {
  std::vector<UniqueFd> libraries;
  for (int i = 0; i < 40; ++i) libraries.push_back(Greet());
  WakeEvent never;  // it is closed by a thread of its own
  EXPECT_TRUE(WaitReadable(libraries.front().get(), never, 20 * kNsPerS).fd_ready);
  EXPECT_EQ(ReceiveServerMessage(libraries.front().get()).result, OsResult::kGone);
  EXPECT_EQ(ReceiveServerMessage(libraries.back().get()).result, OsResult::kRetry) << "open";
}

TEST_F(HandoverTest, SilentConnectionIsRefusedAfterFiveSeconds) {
  const UniqueFd library = Greet();
  const int64_t end_ns = MonotonicNs() + 20 * kNsPerS;
  ServerMessage answer;
  do {
    handover_->RunOnce();
    answer = ReceiveServerMessage(library.get());
  } while (answer.result == OsResult::kRetry && MonotonicNs() < end_ns);
  EXPECT_EQ(answer.type, wire::MessageType::kRefuse);
  EXPECT_NE(answer.reason.find("in time"), std::string::npos) << answer.reason;
}

TEST_F(HandoverTest, StopWithoutVmsIsOverAtOnce) {
  handover_->RequestStop();
  EXPECT_FALSE(handover_->RunOnce());
  EXPECT_EQ(registry_.Status().state, "stopping");
  const EventBatch batch = registry_.EventsAfter(0);
  ASSERT_EQ(batch.events.size(), 1u);
  EXPECT_EQ(batch.events[0].kind, EventKind::kStopRequested);
}

TEST_F(HandoverTest, SocketGoesWithTheDaemon) {
  handover_.reset();
  EXPECT_NE(access(path_.c_str(), F_OK), 0);
}

}  // namespace
}  // namespace ebb
