// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "absl/status/status.h"
#include "hostd/base/unique_fd.h"
#include "hostd/base/units.h"
#include "hostd/os/os_result.h"

namespace ebb {

// One message of a userfaultfd, in our words.
struct FaultMessage {
  enum class Kind {
    kMissing,       // a thread touched a hole
    kWriteProtect,  // a thread wrote to a write-protected page
    kRemove,        // [hva, end) was given back by the guest (balloon); QEMU waited for this read
    kUnknown,
  };
  Kind kind = Kind::kUnknown;
  Hva hva;
  Hva end;  // kRemove only
};

// A userfaultfd of another process: QEMU made it, so every operation acts on QEMU's memory. The fd
// must be O_NONBLOCK. Thread-safe: each call is one system call. Semantics on shmem, all measured:
// a punch keeps write-protection as a PTE marker; Copy and ZeroPage remove it; Copy, ZeroPage and
// removing write-protection wake the threads that wait on the page; kExists wakes nobody.
class Userfaultfd {
 public:
  explicit Userfaultfd(UniqueFd fd) : fd_(std::move(fd)) {}

  // Chooses features; must succeed before anything else. Fails on a descriptor that is not a fresh
  // userfaultfd, and on kernels without shmem write-protection (before 5.19).
  absl::Status EnableApi();

  OsResult Register(Hva hva, uint64_t bytes);
  OsResult Unregister(Hva hva, uint64_t bytes);
  OsResult SetWriteProtect(Hva hva, uint64_t bytes, bool protect);
  OsResult Copy(Hva hva, const std::byte* page);
  // Fills holes from `hva` on with zeros and wakes their waiters, at most `bytes`, and stops with
  // kExists at the first page that is there. `filled_bytes` counts what was done in every case.
  OsResult ZeroPage(Hva hva, uint64_t bytes, uint64_t* filled_bytes);
  OsResult Wake(Hva hva, uint64_t bytes);

  // Reads up to messages.size() messages without blocking. kRetry with count 0: none are pending.
  OsResult Read(std::span<FaultMessage> messages, size_t* count);

  int fd() const { return fd_.get(); }

 private:
  UniqueFd fd_;
};

}  // namespace ebb
