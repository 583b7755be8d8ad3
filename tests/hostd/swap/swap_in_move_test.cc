// SPDX-License-Identifier: MIT
// What a page is brought back from is moved by another thread at the worst moment.
#include <gtest/gtest.h>

#include <functional>
#include <utility>
#include <vector>

#include "hostd/base/wait_checks.h"
#include "hostd/swap/drop.h"
#include "hostd/swap/swap_in.h"
#include "hostd/swap/swap_state.h"
#include "tests/fakes/fake_guest_memory.h"
#include "tests/fakes/page_content.h"
#include "tests/hostd/swap/stored_page.h"
#include "tests/hostd/tiers/pool/fake_pool_memory.h"

namespace ebb {
namespace {

// Says when somebody asks where the pool is: a swap-in does between its look at the record and its
// look at the object.
class WatchedPoolMemory : public FakePoolMemory {
 public:
  using FakePoolMemory::FakePoolMemory;
  std::byte* data() const override {
    if (next_ != nullptr) {
      const AnotherThreadsWork another_thread;
      std::exchange(next_, nullptr)();
    }
    return FakePoolMemory::data();
  }
  void WhenAskedNext(std::function<void()> action) { next_ = std::move(action); }

 private:
  mutable std::function<void()> next_;
};

class SwapInMoveTest : public testing::Test {
 protected:
  static constexpr uint64_t kPages = 1600;
  static constexpr uint32_t kRecords = kPages + 100;

  static PageContent ContentOf(uint64_t page) { return PartlyRandomContent(page, 900); }

  void SwapOut(uint64_t page) {
    memory_.Populate({page}, ContentOf(page));
    const StoredPage stored = StorePage(&memory_, &state_, {page});
    ASSERT_EQ(DropPages(&memory_, &state_, {&stored, 1}), 1u);
  }
  PageOutcome SwapIn(uint64_t page) { return swap_in_.Run({page}, state_.words().Load({page})); }

  FakeGuestMemory memory_{kPages};
  std::vector<std::byte> words_{PageWords::BytesFor(kPages)};
  std::vector<std::byte> records_{SwapDescTable::BytesFor(kRecords)};
  WatchedPoolMemory pool_{8 * kMiB};
  SwapState state_{{words_.data(), records_.data(), &pool_}, kPages, kRecords};
  ebb::SwapIn swap_in_{&memory_, &state_};
};

TEST_F(SwapInMoveTest, PageWhoseObjectIsMovedWhileItIsReadComesBackRight) {
  memory_.Register({{0}, kPages});
  for (uint64_t page = 0; page < kPages; ++page) ASSERT_NO_FATAL_FAILURE(SwapOut(page));
  const auto come_back = [this](uint64_t page) {
    ASSERT_EQ(SwapIn(page), PageOutcome::kServed) << page;
    ASSERT_EQ(memory_.Content({page}), ContentOf(page)) << page;
  };
  for (uint64_t page = 0; page < kPages; ++page) {
    if (page % 8 == 0) continue;
    ASSERT_NO_FATAL_FAILURE(come_back(page));
  }
  state_.ReapRetired();
  const std::vector<std::byte> other(900, std::byte{0x77});
  int moved_while_read = 0;
  for (uint64_t page = 0; page < kPages; page += 8) {
    const SwapId id = state_.words().Load({page}).swap_id();
    pool_.WhenAskedNext([&] {
      const SwapLocation before = state_.table().Load(id).location;
      // Would be enough to move it, free where it was, and use that again.
      for (int pass = 0; pass < 3; ++pass) state_.Compact();
      for (int i = 0; i < 20; ++i) state_.pool().Store(other);
      if (state_.table().Load(id).location != before) ++moved_while_read;
    });
    ASSERT_NO_FATAL_FAILURE(come_back(page));
  }
  EXPECT_GT(moved_while_read, 0) << "nothing was tried";
}

}  // namespace
}  // namespace ebb
