// SPDX-License-Identifier: MIT
#include "tests/hostd/swap/swap_fixture.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <string>
#include <utility>
#include <vector>

#include "hostd/swap/discard.h"

namespace ebb {

void SwapTest::SetUp() {
  auto state = SharedSwapState::Create(kPages);
  ASSERT_TRUE(state.ok()) << state.status();
  shared_state_ = *std::move(state);
  state_ = &shared_state_->state();
  store_pages_ = std::make_unique<StorePages>(&memory_, state_);
  handler_ = std::make_unique<FaultHandler>(&memory_, state_);
  memory_.Register({{0}, kPages});
  for (uint64_t page = 0; page < kPages; ++page) memory_.Populate({page}, ContentOf(page));
  memory_.WatchWords(&state_->words());
}

void SwapTest::TearDown() {
  for (const std::string& violation : memory_.Violations()) ADD_FAILURE() << violation;
  if (!expect_at_rest_) return;
  uint64_t swapped = 0;
  uint64_t lost = 0;
  for (uint64_t page = 0; page < kPages; ++page) {
    EXPECT_FALSE(IsOwned(StateOf(page))) << "page " << page << " is still owned";
    if (StateOf(page) == PageState::kSwapped || StateOf(page) == PageState::kLost) ++swapped;
    if (StateOf(page) == PageState::kLost) ++lost;
  }
  EXPECT_EQ(state_->stats().swapped_pages, swapped);
  EXPECT_EQ(state_->stats().lost_pages, lost);
  for (const PageIndex page : memory_.OwedPages()) {
    EXPECT_EQ(StateOf(page.value), PageState::kLost)
        << "a thread waits for page " << page.value << " and nobody will wake it";
  }
}

ClaimedPage SwapTest::Claim(uint64_t page, std::initializer_list<PageState> path) {
  const AnotherThreadsWork other;
  for (const PageState to : path) {
    EXPECT_TRUE(state_->words().TryMove({page}, Word(page), to));
  }
  return {{page}, Word(page)};
}

ClaimedPage SwapTest::Cool(uint64_t page) {
  const ClaimedPage claim = Claim(page, {PageState::kCooling});
  memory_.ZapPtes({{page}, 1});
  return claim;
}

ClaimedPage SwapTest::Guard(uint64_t page) {
  Cool(page);
  const ClaimedPage claim = Claim(page, {PageState::kGuarded});
  memory_.WriteProtect({{page}, 1});
  return claim;
}

StoredPage SwapTest::Store(uint64_t page) {
  const ClaimedPage guarded = Guard(page);
  std::vector<StoredPage> stored;
  std::vector<ClaimedPage> give_back;
  store_pages_->Run({&guarded, 1}, &stored, &give_back);
  EXPECT_EQ(stored.size(), 1u);
  return stored.at(0);
}

PageWord SwapTest::SwapOut(uint64_t page) {
  const StoredPage stored = Store(page);
  EXPECT_EQ(DropPages(&memory_, state_, {&stored, 1}), 1u);
  EXPECT_EQ(StateOf(page), PageState::kSwapped);
  return Word(page);
}

PageWord SwapTest::OwnSwappingIn(uint64_t page) {
  const PageWord swapped = SwapOut(page);
  const AnotherThreadsWork other;
  return *state_->words().TryMove({page}, swapped, PageState::kSwappingIn, swapped.swap_id());
}

PageWord SwapTest::OwnDropping(uint64_t page) {
  const StoredPage stored = Store(page);
  const AnotherThreadsWork other;
  return *state_->words().TryMove({page}, stored.claim.word, PageState::kDropping, stored.id);
}

void SwapTest::Leave(uint64_t page, PageState to, SwapId id) {
  const AnotherThreadsWork other;
  state_->words().Leave({page}, to, id);
}

PageWord SwapTest::Lose(uint64_t page) {
  const PageWord swapped = SwapOut(page);
  FlipStoredByte(swapped.swap_id());
  EXPECT_EQ(SwapIn(&memory_, state_).Run({page}, swapped), PageOutcome::kLost);
  EXPECT_EQ(StateOf(page), PageState::kLost);
  return Word(page);
}

// What the library keeps is read-only; its owner may open it again.
void SwapTest::FlipStoredByte(SwapId id) {
  const SwapLocation location = state_->table().Load(id).location;
  ASSERT_EQ(location.tier(), TierKind::kPool);
  const auto fds = shared_state_->OpenReadOnly();
  ASSERT_TRUE(fds.ok());
  const std::string path = "/proc/self/fd/" + std::to_string((*fds)[2].get());
  const UniqueFd pool(open(path.c_str(), O_RDWR | O_CLOEXEC));
  // Inside the first literals: the length still fits, only the content is wrong.
  const auto at = static_cast<off_t>(location.pool_handle().value * kPoolGrainBytes +
                                     SpanAllocator::kOwnerBytes + 10);
  char byte = 0;
  ASSERT_EQ(pread(pool.get(), &byte, 1, at), 1);
  byte = static_cast<char>(byte ^ 1);
  ASSERT_EQ(pwrite(pool.get(), &byte, 1, at), 1);
}

void SwapTest::ReadMessages() {
  std::array<GuestMessage, 64> messages;
  size_t count = 0;
  memory_.ReadMessages(messages, &count);
}

void SwapTest::ServeAll() {
  std::array<GuestMessage, 4> messages;
  for (size_t count = 1; count > 0;) {
    memory_.ReadMessages(messages, &count);
    for (size_t i = 0; i < count; ++i) {
      if (messages[i].kind == FaultMessage::Kind::kRemove) {
        const FaultPath fault_path;
        DiscardPages(&memory_, state_, messages[i].range);
      } else {
        EXPECT_EQ(Handle(messages[i].range.first.value, messages[i].kind), PageOutcome::kServed);
      }
    }
  }
}

void SwapTest::ExpectGuestReads(uint64_t page, const PageContent& content) {
  const auto thread = StartRead(page);
  ServeAll();
  ASSERT_FALSE(memory_.Blocked(thread)) << "page " << page;
  EXPECT_TRUE(memory_.ContentRead(thread) == content) << "page " << page << " reads wrong bytes";
}

}  // namespace ebb
