// SPDX-License-Identifier: MIT
#pragma once

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "hostd/base/unique_fd.h"
#include "hostd/os/guest_memory.h"
#include "hostd/os/ram_layout.h"
#include "hostd/os/userfaultfd.h"

namespace ebb {

// GuestMemory of a running QEMU: its userfaultfd, its RAM memfds, and its page table through
// /proc/PID/pagemap and process_madvise. Never maps guest RAM: a second mapping makes a punch cost
// four times as much and keeps MADV_PAGEOUT from zapping PTEs.
class QemuMemory : public GuestMemory {
 public:
  struct Handles {
    UniqueFd userfaultfd;
    std::vector<UniqueFd> memfds;
    UniqueFd pidfd;
    int pid = 0;
  };

  // Fails where the userfaultfd is not a fresh one of that process, or pagemap cannot be opened.
  static absl::StatusOr<std::unique_ptr<QemuMemory>> Open(Handles handles, RamLayout layout);

  uint64_t pages() const override { return layout_.pages(); }
  PageRange FirstRun(PageRange range) const override { return layout_.FirstRun(range); }
  OsResult Register(PageRange run) override;
  OsResult Unregister(PageRange run) override;
  OsResult FindUnmapped(std::vector<PageRange>* unmapped) override;
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
  uint64_t ResidentPages() override;
  OsResult ReadMessages(std::span<GuestMessage> messages, size_t* count) override;
  int message_fd() const override { return userfaultfd_.fd(); }

  const RamLayout& layout() const { return layout_; }

 private:
  QemuMemory(Handles handles, UniqueFd pagemap, RamLayout layout);

  absl::Status CheckReachesProcess();
  GuestMessage Translate(const FaultMessage& message) const;

  RamLayout layout_;
  Userfaultfd userfaultfd_;
  std::vector<UniqueFd> memfds_;
  UniqueFd pidfd_;
  UniqueFd pagemap_;
  const int pid_;
};

}  // namespace ebb
