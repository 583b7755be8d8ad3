// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>

#include "hostd/wire/handover.h"
#include "qemu-plugin/owned_fd.h"

namespace ebb::plugin {

// One message from ebbd with the descriptors that came with it. Descriptors nobody takes out are
// closed with the packet.
struct Packet {
  // Accept carries three; room for one more shows a peer that sends too many.
  static constexpr int kMaxFds = 4;

  wire::MessageType type() const { return static_cast<wire::MessageType>(message.header.type); }

  union {
    wire::Header header;
    wire::Refuse refuse;
  } message;
  OwnedFd fds[kMaxFds];
  int fd_count = 0;
};

enum class Received {
  kMessage,    // header, size and type are what the protocol says
  kMalformed,  // something else; ebbd is still there
  kNothing,    // the socket's receive timeout has passed
  kEnd,        // ebbd closed the socket, or died
};

// Waits for one message. Descriptors get O_CLOEXEC.
Received ReceivePacket(int socket, Packet& packet);

// Sends one message with descriptors (at most 1 + kMaxRamBlocks). False with errno.
bool SendPacket(int socket, const void* message, size_t size, const int* fds, size_t fd_count);

}  // namespace ebb::plugin
