// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "hostd/base/mutex.h"
#include "hostd/os/disk.h"
#include "hostd/tiers/disk/segment_space.h"

namespace ebb {

// The disk tier of a host: one disk, whose segments the VMs share. Thread-safe.
class DiskTier {
 public:
  // `name` is what people know it by: its path.
  DiskTier(std::string name, std::unique_ptr<Disk> disk);

  const std::string& name() const { return name_; }
  SegmentSpace& space() { return space_; }
  absl::StatusOr<std::unique_ptr<DiskQueue>> OpenQueue(uint32_t slots, uint32_t slot_bytes) {
    return disk_->OpenQueue(slots, slot_bytes);
  }

  // How a write or a read ended. A failed write keeps everybody from writing for a while, longer
  // each time: 1 s to 30 s.
  void NoteWrite(bool ok, uint64_t blocks, int64_t now_ns);
  void NoteRead(bool ok) { (ok ? reads_ : failed_reads_).fetch_add(1, std::memory_order_relaxed); }
  bool MayWrite(int64_t now_ns) const;
  // A read or write that was started then has not been answered yet. To be said at least every
  // second: when that has been for 5 s, the disk counts as stalled, until a while after nobody says
  // so any more.
  void NoteWaiting(int64_t since_ns, int64_t now_ns);

  // Of an owner that goes while its writes are in flight: nobody gets its segments before the disk
  // has answered all of them, or they would be written over.
  void Adopt(std::unique_ptr<DiskQueue> writes, std::vector<uint32_t> segments);
  void ReapAdopted();

  struct Stats {
    uint64_t bytes = 0;
    uint64_t segments = 0;
    uint64_t free_segments = 0;
    uint64_t reads = 0;
    uint64_t failed_reads = 0;
    uint64_t written_blocks = 0;
    uint64_t failed_writes = 0;
    bool failing = false;  // the last write failed
    bool stalled = false;  // it did not answer for long
  };
  Stats stats(int64_t now_ns) const;

 private:
  struct Adopted {
    std::unique_ptr<DiskQueue> writes;
    std::vector<uint32_t> segments;
  };

  const std::string name_;
  const std::unique_ptr<Disk> disk_;
  SegmentSpace space_;

  std::atomic<uint64_t> reads_{0};
  std::atomic<uint64_t> failed_reads_{0};
  std::atomic<uint64_t> written_blocks_{0};
  std::atomic<uint64_t> failed_writes_{0};
  std::atomic<int64_t> no_writes_before_ns_{0};
  std::atomic<int64_t> pause_ns_{0};  // 0: the last write was well
  std::atomic<int64_t> stalled_until_ns_{0};

  std::atomic<size_t> adopted_count_{0};
  Mutex mutex_{"DiskTier::mutex_"};
  std::vector<Adopted> adopted_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace ebb
