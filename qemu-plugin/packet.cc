// SPDX-License-Identifier: MIT
#include "qemu-plugin/packet.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

namespace ebb::plugin {
namespace {

constexpr size_t kMaxFdsSent = 1 + wire::kMaxRamBlocks;

size_t SizeOf(wire::MessageType type) {
  switch (type) {
    case wire::MessageType::kOffer:
    case wire::MessageType::kAccept:
    case wire::MessageType::kRelease:
      return sizeof(wire::Header);
    case wire::MessageType::kRefuse:
      return sizeof(wire::Refuse);
    case wire::MessageType::kHello:
      break;  // ours, never ebbd's
  }
  return 0;
}

bool IsWellFormed(const Packet& packet, size_t size, int message_flags) {
  const wire::Header& header = packet.message.header;
  if (size < sizeof header || (message_flags & MSG_TRUNC)) return false;
  return header.magic == wire::kMagic && header.version == wire::kVersion && header.reserved == 0 &&
         header.size == size && SizeOf(packet.type()) == size;
}

void TakeFds(msghdr& message, Packet& packet) {
  for (cmsghdr* part = CMSG_FIRSTHDR(&message); part; part = CMSG_NXTHDR(&message, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count && packet.fd_count < Packet::kMaxFds; ++i) {
      int fd;
      memcpy(&fd, CMSG_DATA(part) + i * sizeof fd, sizeof fd);
      packet.fds[packet.fd_count++].Reset(fd);
    }
  }
}

}  // namespace

Received ReceivePacket(int socket, Packet& packet) {
  // The kernel drops what does not fit, so that no descriptor can be received and missed.
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * Packet::kMaxFds)];
  iovec part = {.iov_base = &packet.message, .iov_len = sizeof packet.message};
  msghdr message = {};
  ssize_t size;
  // ECONNRESET says, once, that ebbd died without having read everything. What it had sent before
  // is still there, and may be an Accept.
  bool reset_seen = false;
  for (;;) {
    memset(&packet.message, 0, sizeof packet.message);
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    size = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    if (size >= 0) break;
    if (errno == EINTR) continue;
    if (errno == EAGAIN || errno == EWOULDBLOCK) return Received::kNothing;
    if (errno != ECONNRESET || reset_seen) return Received::kEnd;
    reset_seen = true;
  }
  TakeFds(message, packet);
  if (size == 0) return Received::kEnd;
  return IsWellFormed(packet, static_cast<size_t>(size), message.msg_flags) ? Received::kMessage
                                                                            : Received::kMalformed;
}

bool SendPacket(int socket, const void* message, size_t size, const int* fds, size_t fd_count) {
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kMaxFdsSent)] = {};
  if (fd_count == 0 || fd_count > kMaxFdsSent) {
    errno = EINVAL;
    return false;
  }
  iovec part = {.iov_base = const_cast<void*>(message), .iov_len = size};
  msghdr packet = {};
  packet.msg_iov = &part;
  packet.msg_iovlen = 1;
  packet.msg_control = control;
  packet.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
  cmsghdr* rights = CMSG_FIRSTHDR(&packet);
  rights->cmsg_level = SOL_SOCKET;
  rights->cmsg_type = SCM_RIGHTS;
  rights->cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
  memcpy(CMSG_DATA(rights), fds, sizeof(int) * fd_count);
  ssize_t sent;
  do {
    sent = sendmsg(socket, &packet, MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  return sent == static_cast<ssize_t>(size);
}

}  // namespace ebb::plugin
