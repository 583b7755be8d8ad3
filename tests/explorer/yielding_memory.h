// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "hostd/os/guest_memory.h"
#include "tests/fakes/fake_guest_memory.h"

namespace ebb::explorer {

// The simulated kernel as a thread of ebbd sees it: every call is a step of its own.
class YieldingMemory : public GuestMemory {
 public:
  explicit YieldingMemory(FakeGuestMemory* kernel) : kernel_(kernel) {}

  uint64_t pages() const override { return kernel_->pages(); }
  PageRange FirstRun(PageRange range) const override { return kernel_->FirstRun(range); }
  OsResult Register(PageRange run) override { return kernel_->Register(run); }
  OsResult Unregister(PageRange run) override { return kernel_->Unregister(run); }
  OsResult FindUnmapped(std::vector<PageRange>* unmapped) override {
    return kernel_->FindUnmapped(unmapped);
  }
  OsResult Unprotect(PageIndex page) override;
  OsResult Fill(PageIndex page, const std::byte* content) override;
  OsResult FillZero(PageRange run, uint64_t* filled_pages) override;
  OsResult WriteProtect(PageRange run) override;
  OsResult Wake(PageRange run) override;
  OsResult ZapPtes(PageRange run) override;
  OsResult ReadPtes(PageRange run, std::span<PteState> states) override;
  OsResult Read(PageIndex page, std::byte* content) override;
  OsResult Punch(PageRange run) override;
  PageRange NextPresent(PageRange range) override;
  // The same always: what reclaim plans is not what is explored.
  uint64_t ResidentPages() override { return kernel_->pages(); }
  OsResult ReadMessages(std::span<GuestMessage> messages, size_t* count) override;
  int message_fd() const override { return -1; }

 private:
  FakeGuestMemory* const kernel_;
};

}  // namespace ebb::explorer
