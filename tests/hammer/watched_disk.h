// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>

#include "hostd/os/disk.h"

namespace ebb::hammer {

// Another disk that is counted. Now and then it fails what that one has done well: a block that is
// read then is not what was written, and a write is one of which nobody knows how far it got.
class WatchedDisk final : public Disk {
 public:
  struct Counts {
    std::atomic<uint64_t> blocks_written{0};
    std::atomic<uint64_t> raw_written{0};  // of them, pages that did not compress
    std::atomic<uint64_t> blocks_read{0};
    std::atomic<uint64_t> raw_read{0};  // of them
    std::atomic<uint64_t> failed_writes{0};
    std::atomic<uint64_t> failed_reads{0};
  };

  WatchedDisk(std::unique_ptr<Disk> disk, Counts* counts)
      : disk_(std::move(disk)), counts_(counts) {}

  uint64_t bytes() const override { return disk_->bytes(); }
  absl::StatusOr<std::unique_ptr<DiskQueue>> OpenQueue(uint32_t slots,
                                                       uint32_t slot_bytes) override;

 private:
  const std::unique_ptr<Disk> disk_;
  Counts* const counts_;
};

}  // namespace ebb::hammer
