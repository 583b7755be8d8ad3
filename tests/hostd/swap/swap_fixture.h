// SPDX-License-Identifier: MIT
#pragma once

#include <gtest/gtest.h>

#include <initializer_list>
#include <memory>
#include <vector>

#include "hostd/base/wait_checks.h"
#include "hostd/swap/drop.h"
#include "hostd/swap/fault.h"
#include "hostd/swap/shared_swap_state.h"
#include "hostd/swap/store_pages.h"
#include "hostd/swap/swap_in.h"
#include "tests/fakes/fake_guest_memory.h"
#include "tests/fakes/page_content.h"

namespace ebb {

// A VM of a few registered pages on the simulated kernel, page N filled with ContentOf(N), and the
// ways to bring a page into each state. At the end of every test the counters must fit the words,
// no page may have been opened by somebody who did not own it, and nobody may be owed an answer.
class SwapTest : public testing::Test {
 protected:
  static constexpr uint64_t kPages = 40;

  void SetUp() override;
  void TearDown() override;

  static PageContent ContentOf(uint64_t page) { return PartlyRandomContent(page + 1, 300); }

  PageWord Word(uint64_t page) { return state_->words().Load({page}); }
  PageState StateOf(uint64_t page) { return Word(page).state(); }

  // Moves the page's word, without touching the guest. Where the page is owned then, some other
  // thread owns it; so with the three Own and Leave below.
  ClaimedPage Claim(uint64_t page, std::initializer_list<PageState> path);
  // What reclaim does to bring a page there.
  ClaimedPage Cool(uint64_t page);
  ClaimedPage Guard(uint64_t page);
  StoredPage Store(uint64_t page);  // in SwappingOut, its copy complete
  PageWord SwapOut(uint64_t page);
  PageWord OwnSwappingIn(uint64_t page);
  PageWord OwnDropping(uint64_t page);
  void Leave(uint64_t page, PageState to, SwapId id = {});
  // Swaps the page out, spoils its copy, and has a swap-in fail.
  PageWord Lose(uint64_t page);

  // Changes a byte of the stored copy; the same again restores it.
  void FlipStoredByte(SwapId id);

  // A guest thread's access, and the fault thread's answer to all messages that are pending.
  FakeGuestMemory::ThreadId StartRead(uint64_t page) { return memory_.StartRead({page}); }
  FakeGuestMemory::ThreadId StartWrite(uint64_t page) {
    return memory_.StartWrite({page}, std::byte{0xee});
  }
  void ReadMessages();  // takes them without an answer
  PageOutcome Handle(uint64_t page, FaultMessage::Kind kind) {
    const FaultPath fault_path;
    return handler_->Handle({page}, kind);
  }
  // Messages until none is left; each outcome is kServed.
  void ServeAll();
  // The guest sees this: a thread reads the page, and is served.
  void ExpectGuestReads(uint64_t page, const PageContent& content);
  static PageContent Written(PageContent content) {
    content.front() = std::byte{0xee};
    return content;
  }

  FakeGuestMemory memory_{kPages};
  std::unique_ptr<SharedSwapState> shared_state_;
  SwapState* state_ = nullptr;  // of shared_state_
  std::unique_ptr<StorePages> store_pages_;
  std::unique_ptr<FaultHandler> handler_;
  // A test that leaves pages owned, or threads unanswered, on purpose says so.
  bool expect_at_rest_ = true;
};

}  // namespace ebb
