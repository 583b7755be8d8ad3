// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "absl/status/statusor.h"

namespace ebb {

// Reads and writes of a disk that do not wait, for one thread. Each has a slot, which is memory
// that belongs to the queue: should the queue go while the disk has not answered, the memory stays
// until it has. Whoever needs to know when that is keeps the queue until nothing is in flight.
class DiskQueue {
 public:
  virtual ~DiskQueue() = default;

  virtual uint32_t slots() const = 0;
  virtual uint32_t slot_bytes() const = 0;
  // Of one slot; page-aligned.
  virtual std::byte* memory(uint32_t slot) const = 0;

  // Starts to fill the slot's first `bytes` from the disk, or to write them there. `offset` and
  // `bytes` are multiples of kPageBytes; nothing may be in flight for the slot. Never waits, and
  // allocates nothing. False when the kernel does not take it now.
  virtual bool StartRead(uint32_t slot, uint64_t offset, uint32_t bytes) = 0;
  virtual bool StartWrite(uint32_t slot, uint64_t offset, uint32_t bytes) = 0;

  // Slots whose read or write has ended since; less than all bytes is a failure. Never waits.
  struct Ended {
    uint32_t slot = 0;
    bool ok = false;
  };
  virtual size_t Reap(std::span<Ended> ended) = 0;
  virtual uint32_t in_flight() const = 0;
  // Becomes readable when something has ended.
  virtual int fd() const = 0;
};

// What the disk tier lies on: a file or a block device, by 4 KiB blocks. Thread-safe.
class Disk {
 public:
  virtual ~Disk() = default;
  virtual uint64_t bytes() const = 0;
  virtual absl::StatusOr<std::unique_ptr<DiskQueue>> OpenQueue(uint32_t slots,
                                                               uint32_t slot_bytes) = 0;
};

}  // namespace ebb
