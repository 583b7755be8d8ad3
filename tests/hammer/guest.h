// SPDX-License-Identifier: MIT
#pragma once

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "hostd/base/unique_fd.h"
#include "hostd/os/qemu_memory.h"
#include "tests/synthetic/vcpu.h"

namespace ebb::hammer {

// A guest with fewer is not left alone by its own threads: see GuestProcess.
inline constexpr uint64_t kFewPages = 1024;

struct GuestOptions {
  uint64_t pages = 0;
  uint64_t seed = 1;
  bool signals = false;                   // with a signal storm
  int64_t slowness = 1;                   // of the machine: 10 where it is emulated
  std::vector<std::string> disk_folders;  // where a file that takes O_DIRECT may lie
  // With a disk behind a small pool; without one nothing takes what does not compress.
  bool both_tiers = false;
};

// What a guest's threads have done, and what they found.
struct GuestReport {
  uint64_t wrong;   // slices of guest memory with wrong bytes
  uint64_t failed;  // system calls that failed on guest memory
  uint64_t barriers_that_waited;
  uint64_t slow_pages;  // that a slow device has written
  int64_t longest_ns;   // of all operations
  bool done;            // the last order is
  uint64_t stuck;       // threads that have got no further for kStuckNs
  uint64_t stuck_page;  // of the first
  std::array<char, 160> stuck_in;
};

// A process that plays QEMU with its guest: it has the RAM memfd and the userfaultfd, and threads
// that check every byte they have written. What must be where is known there alone, outside the
// process with the code under test. Killed at the end.
class Guest {
 public:
  // As long as an operation may take, times the slowness: far longer than anything that is only
  // slow. Faults are held up by 10 ms at most.
  static constexpr int64_t kStuckNs = 5 * kNsPerS;

  // Forks: call it before this process has threads. The guest begins to fill its memory.
  static absl::StatusOr<Guest> Start(const GuestOptions& options);
  Guest(Guest&&) = default;
  ~Guest();

  // Once: what ebbd gets when a VM attaches.
  QemuMemory::Handles TakeHandles() { return std::move(handles_); }
  // Two mappings that lie side by side, so that runs end in between.
  RamLayout layout() const;

  enum class Order : char { kReport, kHammer, kVerify };
  // Gives an order and returns at once. None: the guest is gone or does not answer.
  absl::StatusOr<GuestReport> Give(Order order);
  // Slices operated on. Thread-safe.
  const synthetic::Vcpu::Counts& by_operation() const { return *counts_; }
  uint64_t operations() const;
  // Returns when every direct request that had begun before the call has ended. False: the guest is
  // gone.
  bool AwaitInFlight();

 private:
  Guest() = default;

  UniqueFd pidfd_;                             // killed by it
  synthetic::Vcpu::Counts* counts_ = nullptr;  // shared with the guest
  UniqueFd orders_;
  UniqueFd barriers_;
  QemuMemory::Handles handles_;
  Hva hva_;
  uint64_t pages_ = 0;
};

}  // namespace ebb::hammer
