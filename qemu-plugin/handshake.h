// SPDX-License-Identifier: MIT
// The library's side of the hand-over, step by step; hostd/wire/handover.h shows the order.
#pragma once

#include <cstdint>

#include "qemu-plugin/options.h"
#include "qemu-plugin/owned_fd.h"
#include "qemu-plugin/ram_blocks.h"

namespace ebb::plugin {

// Invalid with errno if ebbd is not there.
OwnedFd ConnectToDaemon(const char* socket_path);

// Waits, not for ever, for Offer. Returns its /dev/userfaultfd, or an invalid descriptor.
OwnedFd ReceiveOffer(int socket);

// Waits until ebbd takes a connection, which is then closed. False if the time is over.
bool AwaitDaemon(const char* socket_path, int seconds);

// A new userfaultfd on QEMU's memory, without UFFDIO_API: ebbd chooses the features. Through
// `device` it needs no privilege and sees faults of the kernel (KVM, vhost), too. Invalid with
// errno.
OwnedFd CreateUserfaultfd(int device);

struct HelloContent {
  const Options& options;
  const RamLayout& ram;
  uint32_t flags;
  uint32_t qemu_version;
};

// Sends Hello with the userfaultfd and the RAM memfds. False with errno.
bool SendHello(int socket, const HelloContent& content, int userfaultfd);

}  // namespace ebb::plugin
