// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "hostd/base/check.h"
#include "hostd/os/guest_memory.h"
#include "tests/bench/page_data.h"

namespace ebb::bench {

// The memory of a guest that never touches a page: each page holds one of the data's, which is what
// is read of it, and what must come back. It takes four bytes a page, from the start on.
class DataMemory : public GuestMemory {
 public:
  DataMemory(const PageData* data, uint64_t pages) : data_(data), content_(pages, 0) {}

  void SetContent(PageIndex page, uint32_t data_page) { content_[page.value] = data_page; }

  OsResult Read(PageIndex page, std::byte* content) override {
    std::memcpy(content, data_->page(content_[page.value]), kPageBytes);
    return OsResult::kDone;
  }
  OsResult Fill(PageIndex page, const std::byte* content) override {
    EBB_CHECK(std::memcmp(content, data_->page(content_[page.value]), kPageBytes) == 0,
              "a page came back with other content");
    return OsResult::kDone;
  }
  OsResult ReadPtes(PageRange, std::span<PteState> states) override {
    for (PteState& state : states) state = {.present = false, .write_protected = true};
    return OsResult::kDone;
  }
  uint64_t pages() const override { return content_.size(); }
  PageRange FirstRun(PageRange range) const override { return range; }

  // Nothing but the swap state is looked at, so the rest has no effect.
  OsResult Register(PageRange) override { return OsResult::kDone; }
  OsResult Unregister(PageRange) override { return OsResult::kDone; }
  OsResult FindUnmapped(std::vector<PageRange>*) override { return OsResult::kDone; }
  OsResult Unprotect(PageIndex) override { return OsResult::kDone; }
  OsResult FillZero(PageRange, uint64_t*) override { return OsResult::kDone; }
  OsResult WriteProtect(PageRange) override { return OsResult::kDone; }
  OsResult Wake(PageRange) override { return OsResult::kDone; }
  OsResult ZapPtes(PageRange) override { return OsResult::kDone; }
  OsResult Punch(PageRange) override { return OsResult::kDone; }
  PageRange NextPresent(PageRange range) override { return {range.first, 0}; }
  uint64_t ResidentPages() override { return 0; }
  OsResult ReadMessages(std::span<GuestMessage>, size_t* count) override {
    *count = 0;
    return OsResult::kDone;
  }
  int message_fd() const override { return -1; }

 private:
  const PageData* data_;
  std::vector<uint32_t> content_;  // the data's page, per page of the guest
};

}  // namespace ebb::bench
