// SPDX-License-Identifier: MIT
#include "hostd/os/uring_disk.h"

#include <liburing.h>
#include <sys/mman.h>
#include <sys/uio.h>

#include <cerrno>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "hostd/base/check.h"
#include "hostd/base/status_macros.h"
#include "hostd/base/units.h"
#include "hostd/base/wait_checks.h"
#include "hostd/os/os_result.h"

namespace ebb {
namespace {

// What no slot is.
constexpr uint64_t kNoSlot = UINT32_MAX;

// As liburing gives it: a negative errno.
absl::Status RingStatus(int error) {
  if (error == -ENOSYS || error == -EPERM || error == -EACCES) {
    return absl::FailedPreconditionError(
        "io_uring, which the disk tier needs, is forbidden on this host: set the sysctl "
        "kernel.io_uring_disabled to 0, and let no seccomp filter (of a container, or "
        "SystemCallFilter= of a systemd unit) refuse io_uring_setup to ebbd");
  }
  return absl::ErrnoToStatus(-error, "setting up io_uring for the disk tier");
}

class UringQueue final : public DiskQueue {
 public:
  UringQueue(std::shared_ptr<const UniqueFd> file, uint64_t disk_bytes, uint32_t slots,
             uint32_t slot_bytes)
      : file_(std::move(file)),
        disk_bytes_(disk_bytes),
        slots_(slots),
        slot_bytes_(slot_bytes),
        started_bytes_(slots) {}
  ~UringQueue() override;

  absl::Status SetUp();

  uint32_t slots() const override { return slots_; }
  uint32_t slot_bytes() const override { return slot_bytes_; }
  std::byte* memory(uint32_t slot) const override { return memory_ + uint64_t{slot} * slot_bytes_; }
  bool StartRead(uint32_t slot, uint64_t offset, uint32_t bytes) override {
    return Start(Direction::kRead, slot, offset, bytes);
  }
  bool StartWrite(uint32_t slot, uint64_t offset, uint32_t bytes) override {
    return Start(Direction::kWrite, slot, offset, bytes);
  }
  size_t Reap(std::span<Ended> ended) override;
  uint32_t in_flight() const override { return in_flight_; }
  int fd() const override { return ring_.ring_fd; }

 private:
  enum class Direction { kRead, kWrite };

  absl::Status RegisterMemory();
  bool Start(Direction direction, uint32_t slot, uint64_t offset, uint32_t bytes);
  uint64_t memory_bytes() const { return uint64_t{slots_} * slot_bytes_; }

  const std::shared_ptr<const UniqueFd> file_;
  const uint64_t disk_bytes_;
  const uint32_t slots_;
  const uint32_t slot_bytes_;
  std::byte* memory_ = nullptr;
  io_uring ring_ = {};
  bool has_ring_ = false;
  std::vector<uint32_t> started_bytes_;  // of each slot; 0: nothing is in flight
  uint32_t in_flight_ = 0;
};

absl::Status UringQueue::SetUp() {
  if (slots_ == 0 || slot_bytes_ == 0 || slot_bytes_ % kPageBytes != 0) {
    return absl::InvalidArgumentError("a disk queue has slots of whole pages");
  }
  MayWait("for memory of the host");
  void* memory =
      mmap(nullptr, memory_bytes(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return ErrnoStatus("mapping memory for a disk queue");
  memory_ = static_cast<std::byte*>(memory);
  if (const int error = io_uring_queue_init(slots_, &ring_, 0); error != 0) {
    return RingStatus(error);
  }
  has_ring_ = true;
  return RegisterMemory();
}

// The kernel keeps registered pages until the last read or write that knows them has ended. Without
// that, what its worker threads have not begun would look the addresses up when it begins: after
// the queue has gone, they may be other memory of the daemon.
absl::Status UringQueue::RegisterMemory() {
  std::vector<iovec> buffers(slots_);
  for (uint32_t slot = 0; slot < slots_; ++slot) buffers[slot] = {memory(slot), slot_bytes_};
  const int error = io_uring_register_buffers(&ring_, buffers.data(), slots_);
  if (error == 0) return absl::OkStatus();
  return absl::ErrnoToStatus(
      -error, absl::StrFormat("pinning %d KiB of memory for the disk tier (without CAP_IPC_LOCK, "
                              "ebbd needs a memlock limit above that: LimitMEMLOCK=, ulimit -l)",
                              memory_bytes() / 1024));
}

UringQueue::~UringQueue() {
  // Does not wait for what is in flight; the kernel ends that, and gives the pages back afterwards.
  if (has_ring_) io_uring_queue_exit(&ring_);
  if (memory_ != nullptr) munmap(memory_, memory_bytes());
}

bool UringQueue::Start(Direction direction, uint32_t slot, uint64_t offset, uint32_t bytes) {
  EBB_CHECK(slot < slots_ && bytes != 0 && bytes <= slot_bytes_, "no such slot of a disk queue");
  EBB_CHECK(offset % kPageBytes == 0 && bytes % kPageBytes == 0, "no whole blocks of a disk");
  EBB_CHECK(started_bytes_[slot] == 0, "the disk has not answered for this slot yet");
  io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
  if (sqe == nullptr) {
    io_uring_submit(&ring_);  // what it did not take before
    return false;
  }
  if (offset > disk_bytes_ || bytes > disk_bytes_ - offset) {
    io_uring_prep_nop(sqe);  // ends with no bytes, as a read there would; a write would extend it
  } else if (direction == Direction::kRead) {
    io_uring_prep_read_fixed(sqe, file_->get(), memory(slot), bytes, offset,
                             static_cast<int>(slot));
  } else {
    io_uring_prep_write_fixed(sqe, file_->get(), memory(slot), bytes, offset,
                              static_cast<int>(slot));
  }
  io_uring_sqe_set_data64(sqe, slot);
  io_uring_submit(&ring_);
  if (io_uring_sq_ready(&ring_) != 0) {
    // The kernel lacks something now, and has not looked at the last one, which is this. What is
    // prepared cannot be taken back, and goes with the next; so it must not touch the slot.
    io_uring_prep_nop(sqe);
    io_uring_sqe_set_data64(sqe, kNoSlot);
    return false;
  }
  started_bytes_[slot] = bytes;
  ++in_flight_;
  return true;
}

size_t UringQueue::Reap(std::span<Ended> ended) {
  size_t count = 0;
  io_uring_cqe* cqe = nullptr;
  while (count < ended.size() && io_uring_peek_cqe(&ring_, &cqe) == 0) {
    if (cqe->user_data != kNoSlot) {
      const auto slot = static_cast<uint32_t>(cqe->user_data);
      EBB_CHECK(slot < slots_ && started_bytes_[slot] != 0, "a disk answered what nobody asked");
      const bool whole = cqe->res >= 0 && static_cast<uint32_t>(cqe->res) == started_bytes_[slot];
      ended[count++] = {slot, whole};
      started_bytes_[slot] = 0;
      --in_flight_;
    }
    io_uring_cqe_seen(&ring_, cqe);
  }
  return count;
}

class UringDisk final : public Disk {
 public:
  UringDisk(UniqueFd file, uint64_t bytes)
      : file_(std::make_shared<const UniqueFd>(std::move(file))), bytes_(bytes) {}

  uint64_t bytes() const override { return bytes_; }
  absl::StatusOr<std::unique_ptr<DiskQueue>> OpenQueue(uint32_t slots,
                                                       uint32_t slot_bytes) override {
    auto queue = std::make_unique<UringQueue>(file_, bytes_, slots, slot_bytes);
    EBB_RETURN_IF_ERROR(queue->SetUp());
    return queue;
  }

 private:
  const std::shared_ptr<const UniqueFd> file_;
  const uint64_t bytes_;
};

}  // namespace

std::unique_ptr<Disk> MakeUringDisk(UniqueFd file, uint64_t bytes) {
  return std::make_unique<UringDisk>(std::move(file), bytes);
}

}  // namespace ebb
