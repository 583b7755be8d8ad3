// SPDX-License-Identifier: MIT
#include "tests/fakes/fake_disk.h"

#include <algorithm>
#include <utility>

#include "hostd/base/check.h"
#include "hostd/base/units.h"
#include "hostd/base/wait_checks.h"
#include "hostd/os/wake_event.h"

namespace ebb {

class FakeDisk::Queue final : public DiskQueue {
 public:
  Queue(FakeDisk* disk, uint32_t slots, uint32_t slot_bytes)
      : disk_(disk), slots_(slots), slot_bytes_(slot_bytes), busy_(slots), pages_(PageCount()) {
    disk_->queues_.push_back(this);
  }
  ~Queue() override {
    const AnotherThreadsWork of_the_kernel;
    for (Request& request : disk_->pending_) {
      if (request.queue == this) request.queue = nullptr;
    }
    std::erase(disk_->queues_, this);
  }

  uint32_t slots() const override { return slots_; }
  uint32_t slot_bytes() const override { return slot_bytes_; }
  std::byte* memory(uint32_t slot) const override {
    return pages_[slot * BytesToPages(slot_bytes_)].bytes;
  }
  bool StartRead(uint32_t slot, uint64_t offset, uint32_t bytes) override {
    return Start(slot, offset, bytes, false);
  }
  bool StartWrite(uint32_t slot, uint64_t offset, uint32_t bytes) override {
    return Start(slot, offset, bytes, true);
  }
  size_t Reap(std::span<Ended> ended) override;
  uint32_t in_flight() const override {
    return static_cast<uint32_t>(std::count(busy_.begin(), busy_.end(), true));
  }
  int fd() const override { return event_.fd(); }

  void NoteEnded(uint32_t slot, bool ok) {
    ended_.push_back({slot, ok});
    event_.Set();
  }

 private:
  struct alignas(kPageBytes) Page {
    std::byte bytes[kPageBytes];
  };

  uint64_t PageCount() const { return slots_ * BytesToPages(slot_bytes_); }
  bool Start(uint32_t slot, uint64_t offset, uint32_t bytes, bool is_write);

  FakeDisk* const disk_;
  const uint32_t slots_;
  const uint32_t slot_bytes_;
  std::vector<bool> busy_;
  mutable std::vector<Page> pages_;
  std::deque<Ended> ended_;
  WakeEvent event_;
};

bool FakeDisk::Queue::Start(uint32_t slot, uint64_t offset, uint32_t bytes, bool is_write) {
  EBB_CHECK(slot < slots_ && bytes != 0 && bytes <= slot_bytes_, "no such slot of a disk queue");
  EBB_CHECK(offset % kPageBytes == 0 && bytes % kPageBytes == 0, "no whole blocks of a disk");
  EBB_CHECK(!busy_[slot], "the disk has not answered for this slot yet");
  const AnotherThreadsWork of_the_kernel;
  Request request{this, slot, offset, bytes, is_write, {}};
  if (is_write) request.content.assign(memory(slot), memory(slot) + bytes);
  busy_[slot] = true;
  const bool started = disk_->Start(std::move(request));
  busy_[slot] = started;
  return started;
}

size_t FakeDisk::Queue::Reap(std::span<Ended> ended) {
  const AnotherThreadsWork of_the_kernel;
  const size_t count = std::min(ended.size(), ended_.size());
  for (size_t i = 0; i < count; ++i) {
    ended[i] = ended_.front();
    busy_[ended[i].slot] = false;
    ended_.pop_front();
  }
  if (ended_.empty()) event_.Clear();
  return count;
}

FakeDisk::~FakeDisk() { EBB_CHECK(queues_.empty(), "a fake disk's queues must go before it"); }

absl::StatusOr<std::unique_ptr<DiskQueue>> FakeDisk::OpenQueue(uint32_t slots,
                                                               uint32_t slot_bytes) {
  if (slots == 0 || slot_bytes == 0 || slot_bytes % kPageBytes != 0) {
    return absl::InvalidArgumentError("a disk queue has slots of whole pages");
  }
  return std::make_unique<Queue>(this, slots, slot_bytes);
}

bool FakeDisk::Start(Request request) {
  if (refuses_) return false;
  ++(request.is_write ? writes_ : reads_);
  pending_.push_back(std::move(request));
  if (automatic_) Complete();
  return true;
}

size_t FakeDisk::Complete(size_t count) {
  const AnotherThreadsWork of_the_kernel;
  size_t done = 0;
  for (; !stalls_ && done < count && !pending_.empty(); ++done) {
    End(pending_.front());
    pending_.pop_front();
  }
  return done;
}

void FakeDisk::End(const Request& request) {
  const bool inside =
      request.offset <= data_.size() && request.bytes <= data_.size() - request.offset;
  const bool ok = !Fails(request) && inside;
  std::byte* const place = data_.data() + (inside ? request.offset : 0);
  if (ok && request.is_write) {
    std::copy(request.content.begin(), request.content.end(), place);
  } else if (ok && request.queue != nullptr) {
    std::copy_n(place, request.bytes, request.queue->memory(request.slot));
  }
  if (request.queue != nullptr) request.queue->NoteEnded(request.slot, ok);
}

bool FakeDisk::Fails(const Request& request) {
  uint32_t& failing = request.is_write ? failing_writes_ : failing_reads_;
  if (failing == 0) return false;
  --failing;
  return true;
}

void FakeDisk::SetAutomatic(bool automatic) {
  automatic_ = automatic;
  if (automatic_) Complete();
}

void FakeDisk::Stall(bool stalls) {
  stalls_ = stalls;
  if (automatic_) Complete();
}

}  // namespace ebb
