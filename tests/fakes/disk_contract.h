// SPDX-License-Identifier: MIT
// What the disk tier expects of a disk, as tests that run on the one in memory (fake_disk_test.cc)
// and on the real one (tests/hostd/os/uring_disk_test.cc): what holds in one holds in the other.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "hostd/os/disk.h"

namespace ebb {

// A disk of kBytes.
class DiskBench {
 public:
  static constexpr uint64_t kBytes = uint64_t{1} << 20;

  virtual ~DiskBench() = default;
  virtual Disk& disk() = 0;
  // Lets the disk end what was started. Its queues then show it, sooner or later.
  virtual void LetEnd() = 0;
};

using DiskBenchFactory = std::function<std::unique_ptr<DiskBench>()>;

class DiskContract : public testing::TestWithParam<DiskBenchFactory> {
 protected:
  static constexpr uint32_t kSlots = 8;
  static constexpr uint32_t kSlotBytes = 16384;
  static constexpr std::byte kFirst{0x31};
  static constexpr std::byte kSecond{0x32};
  static constexpr int kDeadlineMs = 20000;

  void SetUp() override;

  std::unique_ptr<DiskQueue> OpenQueue();
  // All that is in flight, when it has ended. Waits for it, with a deadline.
  std::vector<DiskQueue::Ended> ReapAll(DiskQueue& queue);
  // Whether the one thing in flight went well.
  bool Succeeds(DiskQueue& queue);
  void Write(DiskQueue& queue, uint64_t offset, std::byte value);
  std::byte Read(DiskQueue& queue, uint64_t offset);

  std::unique_ptr<DiskBench> bench_;
};

}  // namespace ebb
