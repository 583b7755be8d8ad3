// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <vector>

#include "hostd/os/disk.h"

namespace ebb {

// A disk in memory, for one thread. Reads and writes end when the test says so, oldest first: a
// write has the content that its slot had when it was started, is on the disk when it ends, and
// ends also after its queue has gone, as a disk would do it.
class FakeDisk final : public Disk {
 public:
  explicit FakeDisk(uint64_t bytes) : data_(bytes) {}
  ~FakeDisk() override;

  uint64_t bytes() const override { return data_.size(); }
  absl::StatusOr<std::unique_ptr<DiskQueue>> OpenQueue(uint32_t slots,
                                                       uint32_t slot_bytes) override;

  // What is on it; the test may damage it.
  std::span<std::byte> data() { return data_; }

  // Started and not ended.
  size_t pending() const { return pending_.size(); }
  // Ends so many of them, and returns how many those were.
  size_t Complete(size_t count = SIZE_MAX);
  // From now on each ends as soon as it is started, and what is pending now.
  void SetAutomatic(bool automatic);
  // While it stalls nothing ends.
  void Stall(bool stalls);
  // While it refuses nothing is started: the queues say false.
  void SetRefuse(bool refuses) { refuses_ = refuses; }
  // Of those that end next. A write that fails changes nothing.
  void FailNextReads(uint32_t count) { failing_reads_ = count; }
  void FailNextWrites(uint32_t count) { failing_writes_ = count; }

  // Started until now.
  uint64_t reads() const { return reads_; }
  uint64_t writes() const { return writes_; }

 private:
  class Queue;
  struct Request {
    Queue* queue = nullptr;  // none once it has gone
    uint32_t slot = 0;
    uint64_t offset = 0;
    uint32_t bytes = 0;
    bool is_write = false;
    std::vector<std::byte> content;  // of a write
  };

  bool Start(Request request);
  void End(const Request& request);
  bool Fails(const Request& request);

  std::vector<std::byte> data_;
  std::vector<Queue*> queues_;
  std::deque<Request> pending_;
  bool automatic_ = false;
  bool stalls_ = false;
  bool refuses_ = false;
  uint32_t failing_reads_ = 0;
  uint32_t failing_writes_ = 0;
  uint64_t reads_ = 0;
  uint64_t writes_ = 0;
};

}  // namespace ebb
