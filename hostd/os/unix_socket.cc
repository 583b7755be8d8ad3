// SPDX-License-Identifier: MIT
#include "hostd/os/unix_socket.h"

#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_format.h"
#include "hostd/base/status_macros.h"
#include "hostd/base/wait_checks.h"

namespace ebb {
namespace {

// SCM_MAX_FD. Nothing of ours sends near as many, but what does not fit is closed by the kernel,
// on our thread.
constexpr size_t kMaxFdsPerPacket = 253;

}  // namespace

absl::StatusOr<sockaddr_un> UnixAddress(const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "the path of a socket has 1 to %d bytes: \"%s\"", sizeof address.sun_path - 1, path));
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

UniqueFd NewUnixSocket(SocketType type) {
  const int kind = type == SocketType::kStream ? SOCK_STREAM : SOCK_SEQPACKET;
  return UniqueFd(socket(AF_UNIX, kind | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

absl::StatusOr<UniqueFd> ConnectUnix(const std::string& path, SocketType type) {
  EBB_ASSIGN_OR_RETURN(const sockaddr_un address, UnixAddress(path));
  UniqueFd fd = NewUnixSocket(type);
  if (!fd.valid()) return ErrnoStatus("socket");
  MayWait("for a peer that listens");
  if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return ErrnoStatus("connecting to " + path);
  }
  return fd;
}

absl::StatusOr<UniqueFd> AcceptUnix(int listener) {
  // style-ok(wait): called when a connection is there, on a listener that does not block
  UniqueFd fd(accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!fd.valid()) return ErrnoStatus("accept");
  return fd;
}

absl::StatusOr<PeerCredentials> PeerOf(int socket) {
  ucred credentials = {};
  socklen_t bytes = sizeof credentials;
  if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &bytes) != 0) {
    return ErrnoStatus("SO_PEERCRED");
  }
  return PeerCredentials{credentials.pid, credentials.uid};
}

absl::Status SendPacket(int socket, std::span<const std::byte> packet, std::span<const int> fds) {
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kMaxFdsPerPacket)] = {};
  iovec io = {const_cast<std::byte*>(packet.data()), packet.size()};
  msghdr message = {};
  message.msg_iov = &io;
  message.msg_iovlen = 1;
  if (!fds.empty()) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(fds.size_bytes());
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(fds.size_bytes());
    std::memcpy(CMSG_DATA(header), fds.data(), fds.size_bytes());
  }
  MayWait("for a peer");  // not with these flags, but nobody talks to one as an owner
  const ssize_t sent = sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
  if (sent != static_cast<ssize_t>(packet.size())) return ErrnoStatus("sending a packet");
  return absl::OkStatus();
}

namespace {

std::vector<UniqueFd> TakeDescriptors(msghdr* message) {
  std::vector<UniqueFd> fds;
  for (cmsghdr* header = CMSG_FIRSTHDR(message); header != nullptr;
       header = CMSG_NXTHDR(message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd;
      std::memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof fd);
      fds.emplace_back(fd);
    }
  }
  return fds;
}

}  // namespace

OsResult ReceivePacket(int socket, std::span<std::byte> buffer, size_t max_fds,
                       ReceivedPacket* packet) {
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kMaxFdsPerPacket)];
  iovec io = {buffer.data(), buffer.size()};
  msghdr message = {};
  message.msg_iov = &io;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  MayWait("for a peer");
  const ssize_t bytes = recvmsg(socket, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  if (bytes < 0) return ErrnoIsTransient() ? OsResult::kRetry : OsResult::kGone;

  packet->bytes = static_cast<size_t>(bytes);
  packet->fds = TakeDescriptors(&message);
  // The end of the connection, or an empty packet, which nobody of ours sends.
  if (bytes == 0) return OsResult::kGone;
  if ((message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0 || packet->fds.size() > max_fds) {
    return OsResult::kFailed;
  }
  return OsResult::kDone;
}

OsResult WriteSome(int socket, std::span<const char> bytes, size_t* written) {
  MayWait("for a peer");
  const ssize_t sent = send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  *written = sent > 0 ? static_cast<size_t>(sent) : 0;
  if (sent >= 0) return OsResult::kDone;
  return ErrnoIsTransient() ? OsResult::kRetry : OsResult::kGone;
}

OsResult ReadSome(int socket, std::span<char> bytes, size_t* read) {
  MayWait("for a peer");
  const ssize_t received = recv(socket, bytes.data(), bytes.size(), MSG_DONTWAIT);
  *read = received > 0 ? static_cast<size_t>(received) : 0;
  if (received > 0) return OsResult::kDone;
  if (received == 0) return OsResult::kGone;
  return ErrnoIsTransient() ? OsResult::kRetry : OsResult::kGone;
}

}  // namespace ebb
