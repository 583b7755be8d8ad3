// SPDX-License-Identifier: MIT
// What the page protocol expects of a kernel, as tests that run on the simulated one
// (fake_guest_memory_test.cc) and on the real one (tests/hostd/os/qemu_memory_test.cc): what holds
// in one holds in the other.
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <functional>
#include <memory>

#include "hostd/os/guest_memory.h"

namespace ebb {

// A guest of 16 pages with nothing registered, all of them holes.
class GuestBench {
 public:
  static constexpr uint64_t kPages = 16;

  virtual ~GuestBench() = default;

  virtual GuestMemory& memory() = 0;
  // A guest thread touches the page's first byte.
  virtual size_t StartRead(PageIndex page) = 0;
  virtual size_t StartWrite(PageIndex page, std::byte value) = 0;
  // The thread gets through. Waits for it, with a deadline.
  virtual bool Finishes(size_t thread) = 0;
  // The thread is still blocked, after what would have been enough to get through.
  virtual bool StaysBlocked(size_t thread) = 0;
  virtual std::byte ByteRead(size_t thread) = 0;
  // A guest thread gives pages back as the balloon does.
  virtual size_t StartDiscard(PageRange range) = 0;
  // A message is pending. Waits for it, with a deadline.
  virtual bool WaitForMessages() = 0;
  // Waits for a message, with a deadline.
  virtual GuestMessage NextMessage() = 0;
};

using GuestBenchFactory = std::function<std::unique_ptr<GuestBench>()>;

class GuestMemoryContract : public testing::TestWithParam<GuestBenchFactory> {
 protected:
  void SetUp() override;

  GuestMemory& memory() { return bench_->memory(); }
  // Writes the page from the guest, before it is registered.
  void Populate(PageIndex page, std::byte value);
  void RegisterAll();
  PteState Pte(PageIndex page);
  // The page's PTE is gone; the kernel may need a few tries.
  void Zap(PageIndex page);
  std::byte FirstByte(PageIndex page);
  bool IsHole(PageIndex page) { return memory().NextPresent({page, 1}).count == 0; }
  // A discard is on its way and its message is unread; write-protects `page` until then.
  void WaitUntilMapChanges(PageIndex page);
  void ExpectMessage(FaultMessage::Kind kind, PageIndex page);

  std::unique_ptr<GuestBench> bench_;
};

}  // namespace ebb
