// SPDX-License-Identifier: MIT
#include "tests/hammer/watched_disk.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "hostd/base/status_macros.h"
#include "hostd/tiers/disk/block_format.h"
#include "tests/synthetic/random.h"

namespace ebb::hammer {
namespace {

// One of so many fails. A page is lost after three reads that fail in a row: that does not happen.
constexpr uint64_t kWritesToAFailure = 500;
constexpr uint64_t kReadsToAFailure = 20000;

using synthetic::Random;

// Of a page that did not compress, and by all odds does not look like a block with an index.
bool IsRaw(const std::byte* block) {
  std::array<BlockMember, 1> members;
  return ReadMembers(ConstDiskBlock(block, kDiskBlockBytes), members) == 0;
}

void Add(std::atomic<uint64_t>* counter, uint64_t by) {
  counter->fetch_add(by, std::memory_order_relaxed);
}

class WatchedQueue final : public DiskQueue {
 public:
  WatchedQueue(std::unique_ptr<DiskQueue> queue, WatchedDisk::Counts* counts)
      : queue_(std::move(queue)), counts_(counts), started_(queue_->slots()), random_(1) {}

  uint32_t slots() const override { return queue_->slots(); }
  uint32_t slot_bytes() const override { return queue_->slot_bytes(); }
  std::byte* memory(uint32_t slot) const override { return queue_->memory(slot); }

  bool StartRead(uint32_t slot, uint64_t offset, uint32_t bytes) override {
    started_[slot] = {bytes, 0, false};
    return queue_->StartRead(slot, offset, bytes);
  }
  bool StartWrite(uint32_t slot, uint64_t offset, uint32_t bytes) override {
    started_[slot] = {bytes, CountRaw(slot, bytes), true};
    return queue_->StartWrite(slot, offset, bytes);
  }

  size_t Reap(std::span<Ended> ended) override {
    const size_t count = queue_->Reap(ended);
    for (Ended& each : ended.first(count)) See(&each);
    return count;
  }
  uint32_t in_flight() const override { return queue_->in_flight(); }
  int fd() const override { return queue_->fd(); }

 private:
  struct Started {
    uint32_t bytes = 0;
    uint64_t raw = 0;
    bool is_write = false;
  };

  uint64_t CountRaw(uint32_t slot, uint32_t bytes) const {
    uint64_t raw = 0;
    for (uint32_t at = 0; at < bytes; at += kDiskBlockBytes) {
      if (IsRaw(memory(slot) + at)) ++raw;
    }
    return raw;
  }

  void See(Ended* ended) {
    const Started& started = started_[ended->slot];
    const uint64_t blocks = started.bytes / kDiskBlockBytes;
    if (started.is_write) {
      if (ended->ok && random_.Below(kWritesToAFailure) == 0) ended->ok = false;
      Add(ended->ok ? &counts_->blocks_written : &counts_->failed_writes, ended->ok ? blocks : 1);
      if (ended->ok) Add(&counts_->raw_written, started.raw);
      return;
    }
    if (ended->ok && random_.Below(kReadsToAFailure) == 0) {
      ended->ok = false;
      std::memset(memory(ended->slot), 0xbd, started.bytes);
    }
    Add(ended->ok ? &counts_->blocks_read : &counts_->failed_reads, ended->ok ? blocks : 1);
    if (ended->ok) Add(&counts_->raw_read, CountRaw(ended->slot, started.bytes));
  }

  const std::unique_ptr<DiskQueue> queue_;
  WatchedDisk::Counts* const counts_;
  std::vector<Started> started_;
  Random random_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<DiskQueue>> WatchedDisk::OpenQueue(uint32_t slots,
                                                                  uint32_t slot_bytes) {
  EBB_ASSIGN_OR_RETURN(std::unique_ptr<DiskQueue> queue, disk_->OpenQueue(slots, slot_bytes));
  return std::make_unique<WatchedQueue>(std::move(queue), counts_);
}

}  // namespace ebb::hammer
