// SPDX-License-Identifier: MIT
// The real library in a fake QEMU; the test is ebbd, with the real /dev/userfaultfd.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include "fake_daemon.h"
#include "vm_process.h"

namespace ebb {
namespace {

constexpr uint64_t kPage = 4096;
constexpr uint64_t kRamBytes = 1 << 20;
constexpr char kUserfaultfd[] = "anon_inode:[userfaultfd]";

std::string FileOf(int fd) {
  return std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(fd)).string();
}

// The lines /proc/PID/smaps has about guest RAM.
std::string RamSmaps(const VmProcess& vm) {
  std::istringstream lines(vm.ReadProc("smaps"));
  std::string line, text;
  bool inside = false;
  while (std::getline(lines, line)) {
    if (line.find("-") != std::string::npos && line.find("rw-s") != std::string::npos) {
      inside = line.find("memory-backend-memfd") != std::string::npos;
    }
    if (inside) text += line + "\n";
    if (line.find("VmFlags") != std::string::npos) inside = false;
  }
  return text;
}

class SessionTest : public testing::Test {
 protected:
  void SetUp() override {
    TestFd device(OpenUserfaultfdDevice());
    if (device.get() < 0) GTEST_SKIP() << "/dev/userfaultfd cannot be opened";
  }

  // Takes a connection up to Accept.
  DaemonConnection Attach(ReceivedHello& hello) {
    DaemonConnection connection = daemon_.Accept();
    hello = connection.Greet();
    connection.SendAccept(state_.fds());
    return connection;
  }

  FakeDaemon daemon_;
  StateFiles state_;
};

TEST_F(SessionTest, HelloDescribesTheVm) {
  VmProcess vm({daemon_.socket_argument(), "name=web 1", "qmp=/run/qmp.sock"});
  DaemonConnection connection = daemon_.Accept();
  ASSERT_TRUE(connection.connected());
  ReceivedHello received = connection.Greet();
  ASSERT_EQ(received.bytes, sizeof(wire::Hello));

  const wire::Hello& hello = received.hello;
  EXPECT_EQ(hello.header.magic, wire::kMagic);
  EXPECT_EQ(hello.header.version, wire::kVersion);
  EXPECT_EQ(hello.header.type, static_cast<uint16_t>(wire::MessageType::kHello));
  EXPECT_EQ(hello.header.size, sizeof(wire::Hello));
  EXPECT_EQ(hello.header.reserved, 0u);
  EXPECT_EQ(hello.pid, static_cast<uint32_t>(vm.pid()));
  EXPECT_EQ(hello.flags, 0u);
  EXPECT_EQ(hello.qemu_version, 7u << 16 | 2u << 8 | 22u);
  EXPECT_STREQ(hello.vm_name, "web_1");
  EXPECT_STREQ(hello.qmp_path, "/run/qmp.sock");

  ASSERT_EQ(hello.ram_block_count, 1u);
  ASSERT_EQ(hello.memfd_count, 1u);
  ASSERT_EQ(received.fds.size(), 2u);
  const wire::RamBlock& block = hello.ram_blocks[0];
  struct stat memfd;
  ASSERT_EQ(fstat(received.fds[1].get(), &memfd), 0);
  EXPECT_EQ(block.bytes, kRamBytes);
  EXPECT_EQ(block.hva % kPage, 0u);
  EXPECT_EQ(block.file_offset, 0u);
  EXPECT_EQ(block.inode, memfd.st_ino);
  EXPECT_EQ(block.page_bytes, kPage);
  EXPECT_EQ(block.fd_index, 0u);
  EXPECT_EQ(fcntl(received.fds[1].get(), F_GETFL) & O_ACCMODE, O_RDWR);
}

TEST_F(SessionTest, UserfaultfdIsFreshAndOfTheVm) {
  VmProcess vm({daemon_.socket_argument()});
  DaemonConnection connection = daemon_.Accept();
  ReceivedHello received = connection.Greet();
  ASSERT_EQ(received.bytes, sizeof(wire::Hello));
  EXPECT_EQ(FileOf(received.userfaultfd()), kUserfaultfd);
  EXPECT_TRUE(fcntl(received.userfaultfd(), F_GETFL) & O_NONBLOCK);
  // UFFDIO_API works once per userfaultfd.
  uffdio_api api = {.api = UFFD_API, .features = 0, .ioctls = 0};
  EXPECT_EQ(ioctl(received.userfaultfd(), UFFDIO_API, &api), 0);
  // Its address space is the VM's: the RAM's address can be registered.
  const wire::RamBlock& block = received.hello.ram_blocks[0];
  uffdio_register all = {.range = {.start = block.hva, .len = block.bytes},
                         .mode = UFFDIO_REGISTER_MODE_MISSING,
                         .ioctls = 0};
  EXPECT_EQ(ioctl(received.userfaultfd(), UFFDIO_REGISTER, &all), 0);
  EXPECT_TRUE(vm.OpenFiles("/dev/userfaultfd").empty());
}

TEST_F(SessionTest, KeepsStateAndUserfaultfdWithoutTheDaemon) {
  VmProcess vm({daemon_.socket_argument(), "name=web"});
  ReceivedHello first, second;
  Attach(first).Close();
  DaemonConnection again = daemon_.Accept();
  ASSERT_TRUE(again.connected());
  EXPECT_EQ(vm.OpenFiles("memfd:ebb-test-").size(), 3u);
  EXPECT_EQ(vm.OpenFiles(kUserfaultfd).size(), 1u);

  second = again.Greet();
  ASSERT_EQ(second.bytes, sizeof(wire::Hello));
  EXPECT_EQ(second.hello.flags, wire::kHelloCarriesState);
  EXPECT_STREQ(second.hello.vm_name, "web");
  ASSERT_EQ(second.fds.size(), 2u);
  EXPECT_TRUE(IsSameOpenFile(first.userfaultfd(), second.userfaultfd()));
  EXPECT_FALSE(IsSameOpenFile(first.userfaultfd(), second.fds[1].get()));
}

// What all of it is for: ebbd holds a page, dies, and the guest must not read a zero instead.
TEST_F(SessionTest, PageTakenByADeadDaemonIsWaitedFor) {
  VmProcess vm({daemon_.socket_argument()});
  ASSERT_EQ(vm.ReadLine(), "started");
  {
    ReceivedHello first;
    DaemonConnection connection = Attach(first);
    uffdio_api api = {.api = UFFD_API, .features = UFFD_FEATURE_MISSING_SHMEM, .ioctls = 0};
    ASSERT_EQ(ioctl(first.userfaultfd(), UFFDIO_API, &api), 0);
    uffdio_register all = {.range = {.start = first.hello.ram_blocks[0].hva, .len = kRamBytes},
                           .mode = UFFDIO_REGISTER_MODE_MISSING,
                           .ioctls = 0};
    ASSERT_EQ(ioctl(first.userfaultfd(), UFFDIO_REGISTER, &all), 0);
    ASSERT_EQ(
        fallocate(first.fds[1].get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 7 * kPage, kPage),
        0);
  }  // ebbd dies: its copies of everything are gone
  vm.Send("read " + std::to_string(7 * kPage));

  DaemonConnection again = daemon_.Accept();
  ReceivedHello second = again.Greet();
  ASSERT_EQ(second.bytes, sizeof(wire::Hello));
  pollfd fault = {.fd = second.userfaultfd(), .events = POLLIN, .revents = 0};
  ASSERT_EQ(poll(&fault, 1, kDeadlineMs), 1) << "the guest did not wait for its page";
  uffd_msg message;
  ASSERT_EQ(read(second.userfaultfd(), &message, sizeof message), ssize_t{sizeof message});
  EXPECT_EQ(message.arg.pagefault.address & ~(kPage - 1),
            second.hello.ram_blocks[0].hva + 7 * kPage);
  alignas(kPage) static char page[kPage];
  memset(page, 0x77, sizeof page);
  uffdio_copy copy = {.dst = message.arg.pagefault.address & ~(kPage - 1),
                      .src = reinterpret_cast<uint64_t>(page),
                      .len = kPage,
                      .mode = 0,
                      .copy = 0};
  ASSERT_EQ(ioctl(second.userfaultfd(), UFFDIO_COPY, &copy), 0);
  EXPECT_EQ(vm.ReadLine(), "byte 119");
}

TEST_F(SessionTest, ReleaseMakesTheNextHelloFresh) {
  VmProcess vm({daemon_.socket_argument()});
  ReceivedHello first;
  DaemonConnection connection = Attach(first);
  connection.SendRelease();
  EXPECT_TRUE(connection.WaitForEnd());

  DaemonConnection again = daemon_.Accept();
  ASSERT_TRUE(again.connected());
  EXPECT_TRUE(vm.OpenFiles("memfd:ebb-test-").empty());
  EXPECT_TRUE(vm.OpenFiles(kUserfaultfd).empty());
  ReceivedHello second = again.Greet();
  ASSERT_EQ(second.bytes, sizeof(wire::Hello));
  EXPECT_EQ(second.hello.flags, 0u);
  EXPECT_FALSE(IsSameOpenFile(first.userfaultfd(), second.userfaultfd()));
}

TEST_F(SessionTest, ReleaseAfterReconnectMakesTheNextHelloFresh) {
  VmProcess vm({daemon_.socket_argument()});
  ReceivedHello first, second;
  Attach(first).Close();
  DaemonConnection again = Attach(second);
  EXPECT_EQ(second.hello.flags, wire::kHelloCarriesState);
  again.SendRelease();
  ReceivedHello third = daemon_.Accept().Greet();
  ASSERT_EQ(third.bytes, sizeof(wire::Hello));
  EXPECT_EQ(third.hello.flags, 0u);
  EXPECT_FALSE(IsSameOpenFile(first.userfaultfd(), third.userfaultfd()));
}

TEST_F(SessionTest, ReleaseMayAnswerAHelloThatCarriesState) {
  VmProcess vm({daemon_.socket_argument()});
  ReceivedHello first;
  Attach(first).Close();
  DaemonConnection again = daemon_.Accept();
  EXPECT_EQ(again.Greet().hello.flags, wire::kHelloCarriesState);
  again.SendRelease();
  ReceivedHello third = daemon_.Accept().Greet();
  ASSERT_EQ(third.bytes, sizeof(wire::Hello));
  EXPECT_EQ(third.hello.flags, 0u);
}

TEST_F(SessionTest, RefusedVmStartsAfreshNextTime) {
  VmProcess vm({daemon_.socket_argument()});
  ASSERT_EQ(vm.ReadLine(), "started");
  DaemonConnection connection = daemon_.Accept();
  ReceivedHello first = connection.Greet();
  connection.SendRefuse("a VFIO device\nis in use");
  EXPECT_TRUE(connection.WaitForEnd());
  EXPECT_EQ(vm.ReadErrorLine(), "ebb: refused: a VFIO device?is in use");

  DaemonConnection again = daemon_.Accept();
  ASSERT_TRUE(again.connected());
  EXPECT_TRUE(vm.OpenFiles(kUserfaultfd).empty());
  ReceivedHello second = again.Greet();
  ASSERT_EQ(second.bytes, sizeof(wire::Hello));
  EXPECT_EQ(second.hello.flags, 0u);
  EXPECT_FALSE(IsSameOpenFile(first.userfaultfd(), second.userfaultfd()));
}

TEST_F(SessionTest, DaemonLostBeforeItsAnswerLeavesNothing) {
  VmProcess vm({daemon_.socket_argument()});
  DaemonConnection connection = daemon_.Accept();
  EXPECT_EQ(connection.Greet().bytes, sizeof(wire::Hello));
  connection.Close();
  DaemonConnection again = daemon_.Accept();
  ASSERT_TRUE(again.connected());
  EXPECT_TRUE(vm.OpenFiles(kUserfaultfd).empty());
  EXPECT_EQ(again.Greet().hello.flags, 0u);
}

TEST_F(SessionTest, RefusedCarriedStateIsKept) {
  VmProcess vm({daemon_.socket_argument()});
  ReceivedHello first;
  Attach(first).Close();
  DaemonConnection again = daemon_.Accept();
  EXPECT_EQ(again.Greet().hello.flags, wire::kHelloCarriesState);
  again.SendRefuse("this version cannot take state over");
  EXPECT_TRUE(again.WaitForEnd());

  DaemonConnection once_more = daemon_.Accept();
  ReceivedHello third = once_more.Greet();
  ASSERT_EQ(third.bytes, sizeof(wire::Hello));
  EXPECT_EQ(third.hello.flags, wire::kHelloCarriesState);
  EXPECT_TRUE(IsSameOpenFile(first.userfaultfd(), third.userfaultfd()));
  EXPECT_EQ(vm.OpenFiles("memfd:ebb-test-").size(), 3u);
}

TEST_F(SessionTest, OtherStateDoesNotReplaceTheKeptOne) {
  VmProcess vm({daemon_.socket_argument()});
  ReceivedHello first;
  Attach(first).Close();
  DaemonConnection again = daemon_.Accept();
  EXPECT_EQ(again.Greet().hello.flags, wire::kHelloCarriesState);
  StateFiles other;
  again.SendAccept(other.fds());
  EXPECT_TRUE(again.WaitForEnd());

  ReceivedHello third = daemon_.Accept().Greet();
  ASSERT_EQ(third.bytes, sizeof(wire::Hello));
  EXPECT_EQ(third.hello.flags, wire::kHelloCarriesState);
  EXPECT_TRUE(IsSameOpenFile(first.userfaultfd(), third.userfaultfd()));
  EXPECT_EQ(vm.OpenFiles("memfd:ebb-test-").size(), 3u);
}

// ebbd has taken pages from here on, whatever arrived: the library must not leave.
TEST_F(SessionTest, AcceptWithoutStateStillAttaches) {
  VmProcess vm({daemon_.socket_argument(), "name=web"});
  ASSERT_EQ(vm.ReadLine(), "started");
  DaemonConnection connection = daemon_.Accept();
  ReceivedHello first = connection.Greet();
  connection.SendAccept({state_.fds()[0]});
  EXPECT_EQ(vm.ReadErrorLine(),
            "ebb: ebbd's state did not arrive; this VM cannot survive its restart");
  EXPECT_EQ(vm.ReadErrorLine(), "ebb: VM web attached");
  EXPECT_TRUE(connection.IsOpen());
  connection.Close();
  ReceivedHello second = daemon_.Accept().Greet();
  ASSERT_EQ(second.bytes, sizeof(wire::Hello));
  EXPECT_EQ(second.hello.flags, wire::kHelloCarriesState);
  EXPECT_TRUE(IsSameOpenFile(first.userfaultfd(), second.userfaultfd()));
}

TEST_F(SessionTest, UnknownMessageDoesNotEndAnAttachedSession) {
  VmProcess vm({daemon_.socket_argument(), "name=web"});
  ASSERT_EQ(vm.ReadLine(), "started");
  ReceivedHello first;
  DaemonConnection connection = Attach(first);
  EXPECT_EQ(vm.ReadErrorLine(), "ebb: VM web attached");
  char rubbish[3] = {1, 2, 3};
  connection.SendRaw(rubbish, sizeof rubbish, {});
  EXPECT_EQ(vm.ReadErrorLine(), "ebb: ebbd sent something this version does not know; ignored");
  EXPECT_TRUE(connection.IsOpen());
  connection.SendRelease();
  EXPECT_EQ(vm.ReadErrorLine(), "ebb: VM web released");
}

TEST_F(SessionTest, DaemonOfAnotherVersionGetsNoHello) {
  VmProcess vm({daemon_.socket_argument()});
  TestFd device(OpenUserfaultfdDevice());
  DaemonConnection connection = daemon_.Accept();
  wire::Offer offer = {MakeHeader(wire::MessageType::kOffer, sizeof offer)};
  offer.header.version = wire::kVersion + 1;
  connection.SendRaw(&offer, sizeof offer, {device.get()});
  EXPECT_TRUE(connection.WaitForEnd());
  EXPECT_EQ(daemon_.Accept().Greet().bytes, sizeof(wire::Hello));
}

TEST_F(SessionTest, OfferNeedsExactlyOneDescriptor) {
  VmProcess vm({daemon_.socket_argument()});
  TestFd device(OpenUserfaultfdDevice());
  const std::vector<std::vector<int>> wrong = {{}, {device.get(), device.get()}};
  for (const std::vector<int>& fds : wrong) {
    DaemonConnection connection = daemon_.Accept();
    wire::Offer offer = {MakeHeader(wire::MessageType::kOffer, sizeof offer)};
    connection.SendRaw(&offer, sizeof offer, fds);
    EXPECT_TRUE(connection.WaitForEnd()) << fds.size();
  }
  EXPECT_TRUE(vm.OpenFiles("/dev/userfaultfd").empty());
}

TEST_F(SessionTest, RequiredVmStartsWhenAccepted) {
  VmProcess vm({daemon_.socket_argument(), "mode=required"});
  ReceivedHello hello;
  DaemonConnection connection = Attach(hello);
  EXPECT_EQ(vm.ReadLine(), "started");
}

TEST_F(SessionTest, RequiredVmDoesNotStartWhenRefused) {
  VmProcess vm({daemon_.socket_argument(), "mode=required", "name=web"});
  DaemonConnection connection = daemon_.Accept();
  connection.Greet();
  connection.SendRefuse("no room");
  EXPECT_EQ(vm.ReadErrorLine(), "ebb: refused: no room");
  EXPECT_EQ(vm.ReadErrorLine(),
            "ebb: mode=required: VM web does not start without ebbd at " + daemon_.socket_path());
  EXPECT_EQ(vm.WaitForExit(), 1);
}

TEST_F(SessionTest, RequiredVmDoesNotStartWithoutADaemon) {
  VmProcess vm({"socket=/nonexistent/ebbd.sock", "mode=required", "name=web"});
  EXPECT_EQ(vm.ReadErrorLine(),
            "ebb: no daemon at /nonexistent/ebbd.sock yet (No such file or directory)");
  EXPECT_EQ(vm.ReadErrorLine(),
            "ebb: mode=required: VM web does not start without ebbd at /nonexistent/ebbd.sock");
  EXPECT_EQ(vm.WaitForExit(), 1);
}

TEST_F(SessionTest, OptionalVmStartsWithoutADaemon) {
  VmProcess vm({"socket=/nonexistent/ebbd.sock"});
  EXPECT_EQ(vm.ReadLine(), "started");
  EXPECT_EQ(vm.ReadErrorLine(),
            "ebb: no daemon at /nonexistent/ebbd.sock yet (No such file or directory); the VM runs "
            "without overcommit");
}

TEST_F(SessionTest, BadArgumentStopsTheStart) {
  VmProcess vm({daemon_.socket_argument(), "swap=yes"});
  EXPECT_EQ(vm.ReadErrorLine(),
            "ebb: unknown argument 'swap=yes' (known: socket=, name=, qmp=, mode=, qemu=)");
  EXPECT_EQ(vm.WaitForExit(), 1);
}

TEST_F(SessionTest, GuestRamLosesHugePagesBeforeTheStart) {
  VmProcess vm({"socket=/nonexistent/ebbd.sock"});
  ASSERT_EQ(vm.ReadLine(), "started");
  EXPECT_NE(RamSmaps(vm).find(" nh "), std::string::npos) << RamSmaps(vm);
}

TEST_F(SessionTest, ThreadTakesNoSignals) {
  VmProcess vm({daemon_.socket_argument()});
  ASSERT_TRUE(daemon_.Accept().connected());
  std::string blocked;
  for (const auto& task :
       std::filesystem::directory_iterator("/proc/" + std::to_string(vm.pid()) + "/task")) {
    std::string status = vm.ReadProc("task/" + task.path().filename().string() + "/status");
    if (status.find("Name:\tebb-session\n") == std::string::npos) continue;
    blocked = status.substr(status.find("SigBlk:") + 8, 16);
  }
  // All but SIGKILL, SIGSTOP and the two that libc keeps for itself.
  EXPECT_EQ(blocked, "fffffffe7ffbfeff");
}

TEST_F(SessionTest, ProgramsOfTheVmInheritNothing) {
  VmProcess vm({daemon_.socket_argument(), "name=web"});
  ReceivedHello hello;
  DaemonConnection connection = Attach(hello);
  ASSERT_EQ(vm.ReadErrorLine(), "ebb: VM web attached");
  int seen = 0;
  for (const char* part : {kUserfaultfd, "memfd:ebb-test-", "socket:"}) {
    for (int fd : vm.Descriptors(part)) {
      EXPECT_TRUE(vm.IsCloseOnExec(fd)) << part;
      ++seen;
    }
  }
  EXPECT_EQ(seen, 5);
}

}  // namespace
}  // namespace ebb
