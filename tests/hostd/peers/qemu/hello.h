// SPDX-License-Identifier: MIT
// What a library in QEMU sends, for tests to send it right and wrong.
#pragma once

#include <sys/stat.h>

#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "hostd/os/unix_socket.h"
#include "hostd/wire/handover.h"
#include "tests/hostd/os/guest_process.h"

namespace ebb {

// A hello that is right in itself, with one RAM block and one memfd.
inline wire::Hello MakeHello(const std::string& vm_name) {
  wire::Hello hello = {};
  hello.header.magic = wire::kMagic;
  hello.header.version = wire::kVersion;
  hello.header.type = static_cast<uint16_t>(wire::MessageType::kHello);
  hello.header.size = sizeof hello;
  hello.qemu_version = 7 << 16 | 2 << 8;
  hello.ram_block_count = 1;
  hello.memfd_count = 1;
  std::memcpy(hello.vm_name, vm_name.data(), vm_name.size());
  hello.ram_blocks[0].hva = 0x7f0000000000;
  hello.ram_blocks[0].bytes = kPageBytes;
  hello.ram_blocks[0].page_bytes = kPageBytes;
  return hello;
}

// The hello of a real process with these mappings, each a RAM block.
inline wire::Hello MakeHello(const std::string& vm_name, const GuestProcess& guest,
                             const std::vector<uint64_t>& mapping_pages) {
  wire::Hello hello = MakeHello(vm_name);
  struct stat info = {};
  fstat(guest.memfd(), &info);
  hello.pid = static_cast<uint32_t>(guest.pid());
  hello.ram_block_count = static_cast<uint32_t>(mapping_pages.size());
  uint64_t offset = 0;
  for (size_t i = 0; i < mapping_pages.size(); ++i) {
    hello.ram_blocks[i] = {
        guest.hva(i).value, PagesToBytes(mapping_pages[i]), offset, info.st_ino, kPageBytes, 0};
    offset += PagesToBytes(mapping_pages[i]);
  }
  return hello;
}

inline bool SendHello(int socket, const wire::Hello& hello, const std::vector<int>& fds) {
  return SendPacket(socket, std::as_bytes(std::span(&hello, 1)), fds).ok();
}

// What ebbd answered.
struct ServerMessage {
  OsResult result = OsResult::kFailed;
  wire::MessageType type{};
  std::string reason;  // of a refusal
  std::vector<UniqueFd> fds;
};

// The next message, which must be there already.
inline ServerMessage ReceiveServerMessage(int socket) {
  ServerMessage message;
  wire::Refuse buffer = {};
  ReceivedPacket packet;
  message.result = ReceivePacket(socket, std::as_writable_bytes(std::span(&buffer, 1)), 8, &packet);
  if (message.result != OsResult::kDone) return message;
  message.type = static_cast<wire::MessageType>(buffer.header.type);
  if (message.type == wire::MessageType::kRefuse && buffer.reason[sizeof buffer.reason - 1] == 0) {
    message.reason = buffer.reason;
  }
  message.fds = std::move(packet.fds);
  const bool sound = buffer.header.magic == wire::kMagic &&
                     buffer.header.version == wire::kVersion && buffer.header.size == packet.bytes;
  if (!sound) message.result = OsResult::kFailed;
  return message;
}

}  // namespace ebb
