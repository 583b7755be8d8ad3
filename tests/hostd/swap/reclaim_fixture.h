// SPDX-License-Identifier: MIT
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "hostd/base/clock.h"
#include "hostd/swap/discard.h"
#include "hostd/swap/fault.h"
#include "hostd/swap/reclaim.h"
#include "hostd/swap/shared_swap_state.h"
#include "tests/fakes/fake_disk.h"
#include "tests/fakes/fake_guest_memory.h"
#include "tests/fakes/fake_io_barrier.h"
#include "tests/fakes/page_content.h"

namespace ebb {

// A VM of 32 MiB on the simulated kernel, and a mover that finishes at once.
class ReclaimTest : public testing::Test, public DropSink {
 protected:
  static constexpr uint64_t kPages = 8192;
  static constexpr uint64_t kNoTarget = UINT64_MAX;

  void SetUp() override { Create(UINT64_MAX); }
  // `disk_bytes` 0: there is none.
  void Create(uint64_t pool_max_bytes, uint64_t disk_bytes = 0) {
    pool_budget_.emplace(pool_max_bytes);
    std::unique_ptr<DiskQueue> reads;
    if (disk_bytes > 0) {
      auto disk = std::make_unique<FakeDisk>(disk_bytes);
      disk_ = disk.get();
      tier_.emplace("a disk of the test", std::move(disk));
      reads = *tier_->OpenQueue(DiskReads::kMaxReads, kDiskBlockBytes);
    }
    auto state = SharedSwapState::Create(kPages, {&*pool_budget_, tier_ ? &*tier_ : nullptr});
    ASSERT_TRUE(state.ok()) << state.status();
    shared_state_ = *std::move(state);
    state_ = &shared_state_->state();
    memory_.WatchWords(&state_->words());
    reclaim_ =
        std::make_unique<Reclaim>(Reclaim::Parts{&memory_, state_, &residency_, &barrier_, this});
    handler_ = std::make_unique<FaultHandler>(&memory_, state_, std::move(reads));
  }
  void TearDown() override {
    for (const std::string& violation : memory_.Violations()) ADD_FAILURE() << violation;
    EXPECT_TRUE(memory_.OwedPages().empty()) << "a guest thread was forgotten";
  }

  // Drops as the mover does.
  void Submit(std::vector<StoredPage> drop, std::vector<ClaimedPage> give_back) override {
    for (size_t done = 0; done < drop.size(); done += kDropBatchPages) {
      const size_t count = std::min(kDropBatchPages, drop.size() - done);
      DropPages(&memory_, state_, std::span(drop).subspan(done, count));
    }
    GivePagesBack(&memory_, state_, give_back);
  }

  static PageContent ContentOf(uint64_t page) { return PartlyRandomContent(page, 16); }
  void PopulateAll() {
    for (uint64_t page = 0; page < kPages; ++page) memory_.Populate({page}, ContentOf(page));
  }
  PageState StateOf(uint64_t page) { return state_->words().Load({page}).state(); }
  uint64_t CountIn(PageState state) {
    uint64_t count = 0;
    for (uint64_t page = 0; page < kPages; ++page) count += StateOf(page) == state ? 1u : 0u;
    return count;
  }

  // Lets `ns` pass, then one pass.
  int64_t Pass(int64_t ns = kNsPerS, uint64_t once_target = kNoTarget) {
    now_ns_ += ns;
    return reclaim_->RunPass(now_ns_, once_target);
  }
  // Passes until every page has been guarded and waits for a barrier, or is not taken at all.
  void GuardEverything() {
    for (int pass = 0; pass < 10; ++pass) Pass();
  }
  // Passes with barriers in between until nothing more is to do.
  void RunToTheEnd(uint64_t once_target = kNoTarget) {
    for (int pass = 0; pass < 200; ++pass) {
      barrier_.CompleteNow();
      Pass(kNsPerS, once_target);
    }
  }
  // What the fault thread does.
  void ServeFaults() {
    std::array<GuestMessage, 16> messages;
    for (size_t count = 1; count > 0;) {
      memory_.ReadMessages(messages, &count);
      for (size_t i = 0; i < count; ++i) {
        if (messages[i].kind == FaultMessage::Kind::kRemove) {
          DiscardPages(&memory_, state_, messages[i].range);
        } else {
          const PageOutcome outcome = handler_->Handle(messages[i].range.first, messages[i].kind);
          EXPECT_TRUE(outcome == PageOutcome::kServed || outcome == PageOutcome::kReading);
        }
      }
      FinishReads();
    }
  }
  void FinishReads() {
    while (handler_->reads_in_flight() > 0) {
      disk_->Complete();
      while (const auto read = handler_->NextRead(false)) {
        EXPECT_EQ(read->outcome, PageOutcome::kServed);
      }
    }
  }
  void ExpectGuestReads(uint64_t page, const PageContent& content) {
    const auto thread = memory_.StartRead({page});
    ServeFaults();
    ASSERT_FALSE(memory_.Blocked(thread)) << page;
    ASSERT_TRUE(memory_.ContentRead(thread) == content)
        << "page " << page << " in " << PageStateName(StateOf(page));
  }

  FakeGuestMemory memory_{kPages};
  FakeIoBarrier barrier_;
  Residency residency_;
  std::optional<PoolBudget> pool_budget_;
  FakeDisk* disk_ = nullptr;  // of tier_
  std::optional<DiskTier> tier_;
  std::unique_ptr<SharedSwapState> shared_state_;
  SwapState* state_ = nullptr;  // of shared_state_
  std::unique_ptr<Reclaim> reclaim_;
  std::unique_ptr<FaultHandler> handler_;
  int64_t now_ns_ = MonotonicNs();
};

}  // namespace ebb
