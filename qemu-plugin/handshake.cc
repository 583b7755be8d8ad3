// SPDX-License-Identifier: MIT
#include "qemu-plugin/handshake.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <utility>

#include "qemu-plugin/packet.h"

namespace ebb::plugin {
namespace {

constexpr time_t kOfferSeconds = 10;
constexpr timespec kBetweenConnections = {.tv_sec = 0, .tv_nsec = 200'000'000};

void SetReceiveTimeout(int socket, time_t seconds) {
  timeval timeout = {.tv_sec = seconds, .tv_usec = 0};
  setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
}

}  // namespace

OwnedFd ConnectToDaemon(const char* socket_path) {
  OwnedFd socket_fd(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!socket_fd.valid()) return {};
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  strcpy(address.sun_path, socket_path);  // both hold wire::kPathBytes
  static_assert(sizeof address.sun_path == wire::kPathBytes);
  if (connect(socket_fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    return {};
  }
  return socket_fd;
}

OwnedFd ReceiveOffer(int socket) {
  // Before Hello nothing is at stake, so a stuck ebbd is left. After it, the answer may be on its
  // way, and there is no time limit.
  SetReceiveTimeout(socket, kOfferSeconds);
  Packet packet;
  Received received = ReceivePacket(socket, packet);
  SetReceiveTimeout(socket, 0);
  if (received != Received::kMessage || packet.type() != wire::MessageType::kOffer ||
      packet.fd_count != 1) {
    return {};
  }
  return std::move(packet.fds[0]);
}

bool AwaitDaemon(const char* socket_path, int seconds) {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  for (const time_t deadline = now.tv_sec + seconds; now.tv_sec < deadline;) {
    OwnedFd socket = ConnectToDaemon(socket_path);
    if (socket.valid() && ReceiveOffer(socket.get()).valid()) return true;
    clock_nanosleep(CLOCK_MONOTONIC, 0, &kBetweenConnections, nullptr);
    clock_gettime(CLOCK_MONOTONIC, &now);
  }
  return false;
}

OwnedFd CreateUserfaultfd(int device) {
  return OwnedFd(ioctl(device, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK));
}

bool SendHello(int socket, const HelloContent& content, int userfaultfd) {
  const RamLayout& ram = content.ram;
  wire::Hello hello = {};
  hello.header = {.magic = wire::kMagic,
                  .version = wire::kVersion,
                  .type = static_cast<uint16_t>(wire::MessageType::kHello),
                  .size = sizeof hello,
                  .reserved = 0};
  hello.pid = static_cast<uint32_t>(getpid());
  hello.flags = content.flags;
  hello.ram_block_count = ram.block_count;
  hello.memfd_count = ram.memfd_count;
  hello.qemu_version = content.qemu_version;
  memcpy(hello.vm_name, content.options.vm_name, sizeof hello.vm_name);
  memcpy(hello.qmp_path, content.options.qmp_path, sizeof hello.qmp_path);
  memcpy(hello.ram_blocks, ram.blocks, sizeof hello.ram_blocks);

  int fds[1 + wire::kMaxRamBlocks];
  fds[0] = userfaultfd;
  memcpy(fds + 1, ram.memfds, ram.memfd_count * sizeof fds[0]);
  return SendPacket(socket, &hello, sizeof hello, fds, 1 + ram.memfd_count);
}

}  // namespace ebb::plugin
