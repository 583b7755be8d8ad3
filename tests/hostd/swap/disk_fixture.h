// SPDX-License-Identifier: MIT
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "hostd/swap/drop.h"
#include "hostd/swap/fault.h"
#include "hostd/swap/shared_swap_state.h"
#include "hostd/swap/store_pages.h"
#include "hostd/swap/writeback.h"
#include "tests/fakes/fake_disk.h"
#include "tests/fakes/fake_guest_memory.h"
#include "tests/fakes/page_content.h"
#include "tests/hostd/swap/stored_page.h"

namespace ebb {

// A small VM on the simulated kernel, with a pool and a simulated disk. The test says when the disk
// answers.
class DiskTest : public testing::Test {
 protected:
  static constexpr uint64_t kPages = 512;
  static constexpr uint64_t kAll = UINT64_MAX / 2;

  void SetUp() override { UseDiskOf(8 * kMiB); }
  void UseDiskOf(uint64_t bytes) {
    handler_.reset();
    store_pages_.reset();
    writeback_.reset();
    shared_state_.reset();
    auto disk = std::make_unique<FakeDisk>(bytes);
    disk_ = disk.get();
    tier_.emplace("a disk of the test", std::move(disk));
    auto state = SharedSwapState::Create(kPages, {nullptr, &*tier_});
    ASSERT_TRUE(state.ok()) << state.status();
    shared_state_ = *std::move(state);
    state_ = &shared_state_->state();
    writeback_.emplace(state_);
    store_pages_.emplace(&memory_, state_, &*writeback_);
    auto reads = tier_->OpenQueue(DiskReads::kMaxReads, kDiskBlockBytes);
    ASSERT_TRUE(reads.ok());
    handler_ = std::make_unique<FaultHandler>(&memory_, state_, *std::move(reads));
    memory_.Register({{0}, kPages});
    memory_.WatchWords(&state_->words());
  }
  void TearDown() override {
    for (const std::string& violation : memory_.Violations()) ADD_FAILURE() << violation;
  }

  // Some compress to a few hundred bytes, some to most of a page.
  static PageContent ContentOf(uint64_t page) {
    return PartlyRandomContent(page, 200 + page * 37 % 2600);
  }
  // Of a page that does not compress.
  static PageContent RawContentOf(uint64_t page) { return RandomContent(page); }

  ClaimedPage GuardContent(uint64_t page, const PageContent& content) {
    memory_.Populate({page}, content);
    return GuardPage(&memory_, state_, {page});
  }
  void SwapOut(uint64_t page) { SwapOut(page, ContentOf(page)); }
  void SwapOut(uint64_t page, const PageContent& content) {
    const ClaimedPage guarded = GuardContent(page, content);
    std::vector<StoredPage> stored;
    std::vector<ClaimedPage> give_back;
    store_pages_->Run({&guarded, 1}, &stored, &give_back);
    ASSERT_EQ(stored.size(), 1u);
    ASSERT_EQ(DropPages(&memory_, state_, stored), 1u);
  }
  // Swaps so many pages out, the first ones, and writes all of them back.
  void SwapOutToDisk(uint64_t pages) {
    for (uint64_t page = 0; page < pages; ++page) ASSERT_NO_FATAL_FAILURE(SwapOut(page));
    WriteBackAll();
    ASSERT_EQ(state_->stats().disk_pages, pages);
  }
  void WriteBackAll() {
    while (writeback_->Run(kAll, now_ns_) && disk_->Complete() > 0) {
    }
  }
  // What was left in the pool is gone, too.
  void Settle() {
    state_->ReapRetired();
    while (state_->Compact()) {
    }
  }

  PageOutcome Touch(uint64_t page) {
    return handler_->Handle({page}, FaultMessage::Kind::kMissing);
  }
  std::optional<SwapIn::ReadPage> NextRead(bool read_ahead = false) {
    return handler_->NextRead(read_ahead);
  }
  // The page comes from the disk, which answers at once.
  void ExpectComesFromDisk(uint64_t page, const PageContent& content) {
    ASSERT_EQ(Touch(page), PageOutcome::kReading) << page;
    disk_->Complete();
    const auto read = NextRead();
    ASSERT_TRUE(read) << page;
    EXPECT_EQ(read->page.value, page);
    ASSERT_EQ(read->outcome, PageOutcome::kServed) << page;
    ASSERT_EQ(memory_.Content({page}), content) << page;
    EXPECT_EQ(StateOf(page), PageState::kResident);
  }

  PageState StateOf(uint64_t page) { return state_->words().Load({page}).state(); }
  SwapLocation LocationOf(uint64_t page) {
    return state_->table().Load(state_->words().Load({page}).swap_id()).location;
  }
  std::span<std::byte> ObjectOnDisk(uint64_t page) {
    const SwapLocation location = LocationOf(page);
    const DiskLocation at = location.disk_location();
    return disk_->data().subspan(PagesToBytes(at.block) + at.offset_bytes, location.length_bytes());
  }

  FakeGuestMemory memory_{kPages};
  FakeDisk* disk_ = nullptr;  // of tier_
  std::optional<DiskTier> tier_;
  std::unique_ptr<SharedSwapState> shared_state_;
  SwapState* state_ = nullptr;  // of shared_state_
  std::optional<Writeback> writeback_;
  std::optional<StorePages> store_pages_;
  std::unique_ptr<FaultHandler> handler_;
  int64_t now_ns_ = kNsPerS;
};

}  // namespace ebb
