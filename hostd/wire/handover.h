// SPDX-License-Identifier: MIT
// clang-format off
// What libebb-qemu.so and ebbd say to each other over a SOCK_SEQPACKET unix socket. One message is
// one packet; all fields are little-endian and fixed width; every message starts with Header.
//
//   library                          ebbd
//   connect                      ->
//                                <-  Offer  + [/dev/userfaultfd]
//   Hello + [uffd, RAM memfds]   ->                 uffd: fresh, UFFDIO_API not called yet
//                                <-  Accept + [words, records, pool]  read-only state memfds
//                             or <-  Refuse         the library closes and tries again later
//   ... the socket stays open ...
//                                <-  Release        everything is back and unregistered
//
// Between Accept and Release the library keeps the uffd and the state memfds, whatever happens to
// the socket: the last reference to the uffd keeps holes from reading as zeros. ebbd takes no page
// before it has sent Accept. The end of the socket does not mean that QEMU has exited; a pidfd
// tells that.
//
// A library that lost ebbd without a Release sends the same uffd again with kHelloCarriesState. It
// then takes an Accept (with the same state memfds), a Release, or a Refuse, after which it keeps
// everything and tries again.
// clang-format on
#pragma once

#include <cstdint>

namespace ebb::wire {

inline constexpr uint32_t kMagic = 0x51424245;  // "EBBQ"
inline constexpr uint16_t kVersion = 1;

inline constexpr uint32_t kMaxRamBlocks = 16;
inline constexpr uint32_t kVmNameBytes = 64;   // with the terminating NUL
inline constexpr uint32_t kPathBytes = 108;    // sockaddr_un::sun_path
inline constexpr uint32_t kReasonBytes = 256;  // with the terminating NUL

enum class MessageType : uint16_t {
  kOffer = 1,
  kHello = 2,
  kAccept = 3,
  kRefuse = 4,
  kRelease = 5,
};

struct Header {
  uint32_t magic;     // kMagic
  uint16_t version;   // kVersion; a peer with another version is refused
  uint16_t type;      // MessageType
  uint32_t size;      // of the whole message, header included
  uint32_t reserved;  // 0
};
static_assert(sizeof(Header) == 16);

// Carries no more than its header; also the shape of Release. Accept adds three descriptors.
struct Offer {
  Header header;
};

// One mapping of guest RAM in QEMU. Several may belong to one memfd.
struct RamBlock {
  uint64_t hva;          // page aligned
  uint64_t bytes;        // page aligned, > 0
  uint64_t file_offset;  // in the memfd, page aligned
  uint64_t inode;        // of the memfd, as fstat says
  uint32_t page_bytes;   // st_blksize of the memfd: 4096 unless hugetlb
  uint32_t fd_index;     // which of the descriptors behind uffd it maps, 0-based
};
static_assert(sizeof(RamBlock) == 40);

inline constexpr uint32_t kHelloCarriesState = 1u << 0;

struct Hello {
  Header header;
  uint32_t pid;                // as QEMU sees it; ebbd trusts SO_PEERCRED instead
  uint32_t flags;              // kHello*
  uint32_t ram_block_count;    // 1..kMaxRamBlocks
  uint32_t memfd_count;        // descriptors behind uffd, 1..kMaxRamBlocks
  uint32_t qemu_version;       // major << 16 | minor << 8 | micro, 0 if unknown
  uint32_t reserved;           // 0
  char vm_name[kVmNameBytes];  // NUL-terminated; [A-Za-z0-9_.-]+
  char qmp_path[kPathBytes];   // NUL-terminated; empty: no QMP socket
  char padding[4];             // 0
  RamBlock ram_blocks[kMaxRamBlocks];
};
static_assert(sizeof(Hello) == 16 + 24 + 64 + 108 + 4 + 16 * 40);

struct Refuse {
  Header header;
  char reason[kReasonBytes];  // NUL-terminated, for QEMU's log
};
static_assert(sizeof(Refuse) == 16 + 256);

}  // namespace ebb::wire
