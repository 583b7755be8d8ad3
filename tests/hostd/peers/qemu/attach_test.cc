// SPDX-License-Identifier: MIT
// The whole hand-over with a process that plays QEMU and its library. Needs root and
// /dev/userfaultfd.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "hostd/base/clock.h"
#include "hostd/os/kernel_probe.h"
#include "hostd/os/open_guard.h"
#include "hostd/peers/qemu/handover.h"
#include "tests/hostd/os/temporary_folder.h"
#include "tests/hostd/peers/qemu/hello.h"

namespace ebb {
namespace {

const std::vector<uint64_t>& Mappings() {
  static const std::vector<uint64_t> mappings = {8, 4};
  return mappings;
}

class AttachTest : public testing::Test {
 protected:
  // Processes first: they must not inherit each other's memfds, nor see threads.
  void SetUp() override {
    ASSERT_TRUE(guest_.started()) << "needs root and /dev/userfaultfd";
    uffd_ = guest_.TakeUserfaultfd();
    auto device = OpenUserfaultfdDevice();
    ASSERT_TRUE(device.ok()) << device.status();
    auto open_guard = OpenGuard::Start();
    ASSERT_TRUE(open_guard.ok()) << open_guard.status();
    open_guard_ = *std::move(open_guard);
    auto handover =
        Handover::Listen({path_, "", open_guard_.get()}, *std::move(device), &registry_);
    ASSERT_TRUE(handover.ok()) << handover.status();
    handover_ = *std::move(handover);
    library_ = guest_.Connect(path_);
    ASSERT_TRUE(library_.valid());
    hello_ = MakeHello("vm1", guest_, Mappings());
  }

  bool RunUntil(const std::function<bool()>& condition) {
    const int64_t end_ns = MonotonicNs() + 20 * kNsPerS;
    while (!condition() && MonotonicNs() < end_ns) handover_->RunOnce();
    return condition();
  }
  // The answer to this hello.
  ServerMessage Attach(const wire::Hello& hello) {
    handover_->RunOnce();
    EXPECT_EQ(ReceiveServerMessage(library_.get()).type, wire::MessageType::kOffer);
    EXPECT_TRUE(SendHello(library_.get(), hello, {uffd_.get(), guest_.memfd()}));
    handover_->RunOnce();
    return ReceiveServerMessage(library_.get());
  }
  void ExpectRefused(const wire::Hello& hello, const std::string& why) {
    const ServerMessage answer = Attach(hello);
    EXPECT_EQ(answer.type, wire::MessageType::kRefuse);
    EXPECT_NE(answer.reason.find(why), std::string::npos) << answer.reason;
    EXPECT_EQ(registry_.Status().vms, 0u);
  }

  // As another QEMU with mem-path=/proc/PID/fd/N does.
  bool RamCanBeOpened() const {
    const std::string path = "/proc/self/fd/" + std::to_string(guest_.memfd());
    return UniqueFd(open(path.c_str(), O_RDWR | O_CLOEXEC)).valid();
  }

  void ExpectEvents(const std::vector<EventKind>& kinds) {
    std::vector<EventKind> found;
    for (const Event& event : registry_.EventsAfter(0).events) {
      found.push_back(event.kind);
      const bool of_ebbd = event.kind == EventKind::kStopRequested;
      EXPECT_EQ(event.vm, of_ebbd ? "" : "vm1") << event.message;
      EXPECT_NE(event.message.find(of_ebbd ? "ebbd" : "vm1"), std::string::npos) << event.message;
    }
    EXPECT_EQ(found, kinds);
  }

  GuestProcess guest_{Mappings()};
  UniqueFd uffd_;
  TemporaryFolder folder_;
  const std::string path_ = folder_.File("qemu.sock");
  Registry registry_{"test", MonotonicNs()};
  std::unique_ptr<OpenGuard> open_guard_;
  std::unique_ptr<Handover> handover_;
  UniqueFd library_;
  wire::Hello hello_;
};

TEST_F(AttachTest, VmIsAttachedAndItsStateHandedOutReadOnly) {
  const ServerMessage answer = Attach(hello_);
  ASSERT_EQ(answer.type, wire::MessageType::kAccept) << answer.reason;
  ASSERT_EQ(answer.fds.size(), 3u);
  for (const UniqueFd& fd : answer.fds) EXPECT_LT(write(fd.get(), "x", 1), 0);
  const auto status = registry_.Vm("vm1");
  ASSERT_TRUE(status.ok());
  EXPECT_EQ(status->pid, guest_.pid());
  EXPECT_EQ(status->ram_bytes, PagesToBytes(12));
  EXPECT_EQ(status->barrier_mode, "grace") << "no QMP path";
  EXPECT_TRUE(guest_.Done(guest_.StartRead(5))) << "and it runs on untouched";
}

TEST_F(AttachTest, QemuThatExitsIsForgotten) {
  ASSERT_EQ(Attach(hello_).type, wire::MessageType::kAccept);
  guest_.Kill();
  EXPECT_TRUE(RunUntil([this] { return registry_.Status().vms == 0; }));
  EXPECT_EQ(registry_.Status().detached_vms, 0u);
  ExpectEvents({EventKind::kVmAttached, EventKind::kVmExited});
}

TEST_F(AttachTest, VmStaysAttachedWhenOnlyItsSocketCloses) {
  ASSERT_EQ(Attach(hello_).type, wire::MessageType::kAccept);
  library_.Reset();
  handover_->RunOnce();
  handover_->RunOnce();
  EXPECT_EQ(registry_.Status().vms, 1u) << "its pages may depend on it";
}

TEST_F(AttachTest, GarbageOfAnAttachedLibraryDoesNotDetachItsVm) {
  ASSERT_EQ(Attach(hello_).type, wire::MessageType::kAccept);
  ASSERT_TRUE(SendPacket(library_.get(), std::as_bytes(std::span("garbage", 7)), {}).ok());
  handover_->RunOnce();
  ASSERT_TRUE(SendHello(library_.get(), hello_, {uffd_.get(), guest_.memfd()}));
  handover_->RunOnce();
  EXPECT_EQ(registry_.Status().vms, 1u);
}

TEST_F(AttachTest, SecondVmOfTheSameNameIsRefusedAndTheFirstStays) {
  ASSERT_EQ(Attach(hello_).type, wire::MessageType::kAccept);
  library_ = guest_.Connect(path_);
  const ServerMessage answer = Attach(hello_);
  EXPECT_EQ(answer.type, wire::MessageType::kRefuse);
  EXPECT_NE(answer.reason.find("vm1"), std::string::npos) << answer.reason;
  handover_->RunOnce();
  EXPECT_EQ(registry_.Status().vms, 1u);
}

TEST_F(AttachTest, CleanStopReleasesTheLibraryAndEnds) {
  ASSERT_EQ(Attach(hello_).type, wire::MessageType::kAccept);
  handover_->RequestStop();
  const int64_t end_ns = MonotonicNs() + 20 * kNsPerS;
  while (handover_->RunOnce()) ASSERT_LT(MonotonicNs(), end_ns);
  EXPECT_EQ(ReceiveServerMessage(library_.get()).type, wire::MessageType::kRelease);
  EXPECT_TRUE(guest_.Done(guest_.StartWrite(2, std::byte{1}))) << "nothing is registered any more";
  EXPECT_EQ(registry_.Status().vms, 0u);
  ExpectEvents({EventKind::kVmAttached, EventKind::kStopRequested, EventKind::kDetachBegun,
                EventKind::kVmDetached});
  EXPECT_NE(registry_.EventsAfter(3).events[0].message.find("ebbd is stopping"), std::string::npos);
}

TEST_F(AttachTest, MemoryOfAnAttachedVmCannotBeOpenedUntilItIsLetGo) {
  EXPECT_TRUE(RamCanBeOpened());
  ASSERT_EQ(Attach(hello_).type, wire::MessageType::kAccept);
  EXPECT_FALSE(RamCanBeOpened());
  EXPECT_TRUE(RunUntil([this] { return registry_.EventsAfter(1).events.size() == 1; }));
  ExpectEvents({EventKind::kVmAttached, EventKind::kOpenRefused});
  ASSERT_TRUE(registry_.Detach("vm1", {}).ok());
  // Who is told that it is detached may open it.
  EXPECT_TRUE(RunUntil([this] { return registry_.Status().vms == 0; }));
  EXPECT_TRUE(RamCanBeOpened());
}

TEST_F(AttachTest, MemoryOfAVmThatIsRefusedCanBeOpened) {
  hello_.ram_blocks[1].hva += 64 * kMiB;
  ExpectRefused(hello_, "does not map");
  EXPECT_TRUE(RamCanBeOpened());
}

TEST_F(AttachTest, NewVmIsRefusedWhileStopping) {
  ASSERT_EQ(Attach(hello_).type, wire::MessageType::kAccept);
  library_ = guest_.Connect(path_);
  handover_->RunOnce();
  ASSERT_EQ(ReceiveServerMessage(library_.get()).type, wire::MessageType::kOffer);
  wire::Hello other = hello_;
  other.vm_name[2] = '2';
  ASSERT_TRUE(SendHello(library_.get(), other, {uffd_.get(), guest_.memfd()}));
  handover_->RequestStop();
  ServerMessage answer;
  const int64_t end_ns = MonotonicNs() + 20 * kNsPerS;
  bool running = true;
  while (running && answer.result != OsResult::kDone && MonotonicNs() < end_ns) {
    running = handover_->RunOnce();
    answer = ReceiveServerMessage(library_.get());
  }
  EXPECT_EQ(answer.type, wire::MessageType::kRefuse);
  EXPECT_NE(answer.reason.find("stopping"), std::string::npos) << answer.reason;
}

TEST_F(AttachTest, OverlappingBlocksAreRefused) {
  hello_.ram_blocks[1] = hello_.ram_blocks[0];
  ExpectRefused(hello_, "overlap");
}

TEST_F(AttachTest, BlockThatIsNotMappedIsRefused) {
  hello_.ram_blocks[1].hva += 64 * kMiB;
  ExpectRefused(hello_, "does not map");
}

TEST_F(AttachTest, BlockOfADescriptorThatDidNotComeIsRefused) {
  hello_.ram_blocks[1].fd_index = 1;
  ExpectRefused(hello_, "malformed");
  library_ = guest_.Connect(path_);
  hello_.ram_blocks[1].fd_index = UINT32_MAX;
  ExpectRefused(hello_, "malformed");
}

TEST_F(AttachTest, RamOfAnotherProcessIsRefused) {
  // This process connects for it: the kernel says so.
  library_ = *ConnectUnix(path_, SocketType::kSeqPacket);
  handover_->RunOnce();
  handover_->RunOnce();
  ASSERT_EQ(ReceiveServerMessage(library_.get()).type, wire::MessageType::kOffer);
  ASSERT_TRUE(SendHello(library_.get(), hello_, {uffd_.get(), guest_.memfd()}));
  handover_->RunOnce();
  const ServerMessage answer = ReceiveServerMessage(library_.get());
  EXPECT_EQ(answer.type, wire::MessageType::kRefuse);
  EXPECT_NE(answer.reason.find(std::to_string(guest_.pid())), std::string::npos) << answer.reason;
}

TEST_F(AttachTest, RefusedLibraryMayTryAgainAndIsAttached) {
  wire::Hello wrong = hello_;
  wrong.ram_blocks[0].hva += kPageBytes;
  ExpectRefused(wrong, "does not map");
  library_ = guest_.Connect(path_);
  EXPECT_EQ(Attach(hello_).type, wire::MessageType::kAccept);
}

}  // namespace
}  // namespace ebb
