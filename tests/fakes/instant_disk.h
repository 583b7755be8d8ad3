// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "hostd/os/disk.h"
#include "hostd/os/wake_event.h"

namespace ebb {

// A disk in memory that ends everything when it is started. For real threads: each has a queue of
// its own, and what two of them do to the same block at once is a data race.
class InstantDisk final : public Disk {
 public:
  explicit InstantDisk(uint64_t bytes) : data_(bytes) {}

  uint64_t bytes() const override { return data_.size(); }
  absl::StatusOr<std::unique_ptr<DiskQueue>> OpenQueue(uint32_t slots,
                                                       uint32_t slot_bytes) override {
    return std::make_unique<Queue>(&data_, slots, slot_bytes);
  }

 private:
  class Queue final : public DiskQueue {
   public:
    Queue(std::vector<std::byte>* data, uint32_t slots, uint32_t slot_bytes)
        : data_(data), slots_(slots), slot_bytes_(slot_bytes), memory_(slots * slot_bytes) {
      ended_.reserve(slots);
    }

    uint32_t slots() const override { return slots_; }
    uint32_t slot_bytes() const override { return slot_bytes_; }
    std::byte* memory(uint32_t slot) const override {
      return const_cast<std::byte*>(memory_.data()) + uint64_t{slot} * slot_bytes_;
    }
    bool StartRead(uint32_t slot, uint64_t offset, uint32_t bytes) override {
      std::memcpy(memory(slot), data_->data() + offset, bytes);
      return End(slot);
    }
    bool StartWrite(uint32_t slot, uint64_t offset, uint32_t bytes) override {
      std::memcpy(data_->data() + offset, memory(slot), bytes);
      return End(slot);
    }
    size_t Reap(std::span<Ended> ended) override {
      size_t count = 0;
      for (; count < ended.size() && !ended_.empty(); ++count) {
        ended[count] = {ended_.back(), true};
        ended_.pop_back();
      }
      if (ended_.empty()) event_.Clear();
      return count;
    }
    uint32_t in_flight() const override { return static_cast<uint32_t>(ended_.size()); }
    int fd() const override { return event_.fd(); }

   private:
    bool End(uint32_t slot) {
      ended_.push_back(slot);
      event_.Set();
      return true;
    }

    std::vector<std::byte>* const data_;
    const uint32_t slots_;
    const uint32_t slot_bytes_;
    std::vector<std::byte> memory_;
    std::vector<uint32_t> ended_;
    WakeEvent event_;
  };

  std::vector<std::byte> data_;
};

}  // namespace ebb
