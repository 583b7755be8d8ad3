// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/status/statusor.h"
#include "hostd/base/unique_fd.h"

namespace ebb {

// A memfd mapped into the daemon that holds a part of a VM's swap state: page words, records or the
// pool. It holds offsets, never pointers, so that another process can take it over. Mode 0600 and
// sealed against shrinking and growing. The memory is allocated by Populate, not by first touch.
// Move-only; the mapping does not move with the object.
class SharedMemory {
 public:
  // `name` shows in /proc/PID/fd as /memfd:NAME. `bytes` is rounded up to whole pages.
  static absl::StatusOr<SharedMemory> Create(const char* name, uint64_t bytes);

  SharedMemory(SharedMemory&& other) noexcept;
  SharedMemory& operator=(SharedMemory&&) = delete;
  ~SharedMemory();

  std::byte* data() const { return data_; }
  uint64_t bytes() const { return bytes_; }

  // Allocates [offset, offset + bytes) now; false when the host has no memory for it.
  bool Populate(uint64_t offset, uint64_t bytes);
  // Gives the memory of whole pages back; the range reads as zero afterwards.
  void Free(uint64_t offset, uint64_t bytes);
  // Memory it takes now.
  uint64_t allocated_bytes() const;

  // A second, read-only description, for the library in QEMU: it can keep the memory alive but can
  // neither write it nor re-open it for writing.
  absl::StatusOr<UniqueFd> OpenReadOnly() const;

 private:
  SharedMemory(UniqueFd fd, std::byte* data, uint64_t bytes)
      : fd_(std::move(fd)), data_(data), bytes_(bytes) {}

  UniqueFd fd_;
  std::byte* data_;
  uint64_t bytes_;
};

}  // namespace ebb
