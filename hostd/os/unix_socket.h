// SPDX-License-Identifier: MIT
#pragma once

#include <sys/types.h>
#include <sys/un.h>

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "hostd/base/unique_fd.h"
#include "hostd/os/os_result.h"

namespace ebb {

enum class SocketType { kStream, kSeqPacket };

// The address of a socket at `path`; fails where the path does not fit.
absl::StatusOr<sockaddr_un> UnixAddress(const std::string& path);
// A new, non-blocking socket; invalid when out of descriptors.
UniqueFd NewUnixSocket(SocketType type);
// Non-blocking in both directions.
absl::StatusOr<UniqueFd> ConnectUnix(const std::string& path, SocketType type);
absl::StatusOr<UniqueFd> AcceptUnix(int listener);

// Who is at the other end, as the kernel recorded it at connect (or at listen, for the connecting
// side).
struct PeerCredentials {
  int pid = 0;
  uid_t uid = 0;
};
absl::StatusOr<PeerCredentials> PeerOf(int socket);

// Sends one packet with descriptors, without blocking.
absl::Status SendPacket(int socket, std::span<const std::byte> packet, std::span<const int> fds);

// Receives one packet without blocking. kRetry: none is there; kGone: the peer closed; kFailed: it
// was longer than `buffer` or carried more than `max_fds` descriptors. Whatever came is in
// `packet`: closing a stranger's descriptor may wait, so the caller says where that is done.
struct ReceivedPacket {
  size_t bytes = 0;
  std::vector<UniqueFd> fds;
};
OsResult ReceivePacket(int socket, std::span<std::byte> buffer, size_t max_fds,
                       ReceivedPacket* packet);

// Stream sockets, without blocking. Both return the bytes moved; kGone when the peer closed.
OsResult WriteSome(int socket, std::span<const char> bytes, size_t* written);
OsResult ReadSome(int socket, std::span<char> bytes, size_t* read);

}  // namespace ebb
