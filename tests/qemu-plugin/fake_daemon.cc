// SPDX-License-Identifier: MIT
#include "fake_daemon.h"

#include <fcntl.h>
#include <linux/kcmp.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <utility>

#include "vm_process.h"

namespace ebb {
namespace {

constexpr size_t kMaxFds = 2 + wire::kMaxRamBlocks;

// True when `events` or the other end's close came before the deadline.
bool Wait(int fd, short events) {
  pollfd ready = {.fd = fd, .events = events, .revents = 0};
  return poll(&ready, 1, kDeadlineMs) == 1;
}

sockaddr_un AddressOf(const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  return address;
}

}  // namespace

TestFd& TestFd::operator=(TestFd&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

void TestFd::Close() {
  if (fd_ >= 0) close(fd_);
  fd_ = -1;
}

wire::Header MakeHeader(wire::MessageType type, uint32_t size) {
  return {.magic = wire::kMagic,
          .version = wire::kVersion,
          .type = static_cast<uint16_t>(type),
          .size = size,
          .reserved = 0};
}

void DaemonConnection::SendRaw(const void* message, size_t size, const std::vector<int>& fds) {
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kMaxFds)] = {};
  iovec part = {.iov_base = const_cast<void*>(message), .iov_len = size};
  msghdr packet = {};
  packet.msg_iov = &part;
  packet.msg_iovlen = 1;
  if (!fds.empty()) {
    packet.msg_control = control;
    packet.msg_controllen = CMSG_SPACE(sizeof(int) * fds.size());
    cmsghdr* rights = CMSG_FIRSTHDR(&packet);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(int) * fds.size());
    memcpy(CMSG_DATA(rights), fds.data(), sizeof(int) * fds.size());
  }
  [[maybe_unused]] ssize_t sent = sendmsg(fd_.get(), &packet, MSG_NOSIGNAL);
}

void DaemonConnection::SendOffer() {
  TestFd device(OpenUserfaultfdDevice());
  wire::Offer offer = {MakeHeader(wire::MessageType::kOffer, sizeof offer)};
  SendRaw(&offer, sizeof offer, {device.get()});
}

void DaemonConnection::SendAccept(const std::vector<int>& state_fds) {
  wire::Header accept = MakeHeader(wire::MessageType::kAccept, sizeof accept);
  SendRaw(&accept, sizeof accept, state_fds);
}

void DaemonConnection::SendRefuse(const std::string& reason) {
  wire::Refuse refuse = {};
  refuse.header = MakeHeader(wire::MessageType::kRefuse, sizeof refuse);
  reason.copy(refuse.reason, sizeof refuse.reason - 1);
  SendRaw(&refuse, sizeof refuse, {});
}

void DaemonConnection::SendRelease() {
  wire::Header release = MakeHeader(wire::MessageType::kRelease, sizeof release);
  SendRaw(&release, sizeof release, {});
}

ReceivedHello DaemonConnection::ReceiveHello() {
  ReceivedHello received;
  if (!Wait(fd_.get(), POLLIN)) return received;
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kMaxFds)];
  iovec part = {.iov_base = &received.hello, .iov_len = sizeof received.hello};
  msghdr packet = {};
  packet.msg_iov = &part;
  packet.msg_iovlen = 1;
  packet.msg_control = control;
  packet.msg_controllen = sizeof control;
  // MSG_TRUNC: the packet's own size, also when it is longer than a Hello.
  ssize_t bytes = recvmsg(fd_.get(), &packet, MSG_CMSG_CLOEXEC | MSG_TRUNC);
  if (bytes <= 0) return received;
  received.bytes = static_cast<size_t>(bytes);
  cmsghdr* rights = CMSG_FIRSTHDR(&packet);
  if (rights == nullptr) return received;
  for (size_t at = CMSG_LEN(0); at < rights->cmsg_len; at += sizeof(int)) {
    int fd;
    memcpy(&fd, reinterpret_cast<char*>(rights) + at, sizeof fd);
    received.fds.emplace_back(fd);
  }
  return received;
}

ReceivedHello DaemonConnection::Greet() {
  SendOffer();
  return ReceiveHello();
}

bool DaemonConnection::WaitForEnd() {
  char byte;
  return Wait(fd_.get(), POLLIN) && recv(fd_.get(), &byte, sizeof byte, MSG_DONTWAIT) <= 0;
}

bool DaemonConnection::IsOpen() {
  pollfd ready = {.fd = fd_.get(), .events = 0, .revents = 0};
  return poll(&ready, 1, 0) == 0;
}

FakeDaemon::FakeDaemon() {
  char directory[] = "/tmp/ebb-plugin-test-XXXXXX";
  if (mkdtemp(directory) == nullptr) abort();
  directory_ = directory;
  path_ = directory_ + "/ebbd.sock";
  listener_ = TestFd(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  sockaddr_un address = AddressOf(path_);
  if (bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) abort();
  if (listen(listener_.get(), 8) != 0) abort();
}

FakeDaemon::~FakeDaemon() {
  unlink(path_.c_str());
  rmdir(directory_.c_str());
}

DaemonConnection FakeDaemon::Accept() {
  if (!Wait(listener_.get(), POLLIN)) return DaemonConnection(-1);
  return DaemonConnection(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
}

StateFiles::StateFiles() {
  for (const char* name : {"ebb-test-words", "ebb-test-records", "ebb-test-pool"}) {
    TestFd writable(memfd_create(name, MFD_CLOEXEC));
    std::string path = "/proc/self/fd/" + std::to_string(writable.get());
    files_.emplace_back(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  }
}

std::vector<int> StateFiles::fds() const {
  std::vector<int> fds;
  for (const TestFd& file : files_) fds.push_back(file.get());
  return fds;
}

int OpenUserfaultfdDevice() { return open("/dev/userfaultfd", O_RDWR | O_CLOEXEC); }

bool IsSameOpenFile(int a, int b) {
  return syscall(SYS_kcmp, getpid(), getpid(), KCMP_FILE, a, b) == 0;
}

}  // namespace ebb
