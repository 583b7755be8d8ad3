// SPDX-License-Identifier: MIT
#include "hostd/swap/shared_swap_state.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <random>
#include <vector>

#include "hostd/base/units.h"

namespace ebb {
namespace {

TEST(SharedSwapState, WordsAndRecordsAreAllocatedAtOnce) {
  const auto state = SharedSwapState::Create(100'000);
  ASSERT_TRUE(state.ok());
  const auto fds = (*state)->OpenReadOnly();
  ASSERT_TRUE(fds.ok());
  const uint64_t expected[] = {(*state)->page_word_bytes(), (*state)->record_bytes()};
  for (size_t i = 0; i < 2; ++i) {
    struct stat info;
    ASSERT_EQ(fstat((*fds)[i].get(), &info), 0);
    EXPECT_GE(static_cast<uint64_t>(info.st_blocks) * 512, expected[i]);
  }
}

TEST(SharedSwapState, MetadataIsWhatItWasSaidToBe) {
  const auto state = SharedSwapState::Create(100'000);
  ASSERT_TRUE(state.ok());
  const uint64_t said = SharedSwapState::MetadataBytes(100'000);
  const uint64_t taken = (*state)->page_word_bytes() + (*state)->record_bytes();
  EXPECT_GE(taken, said);
  EXPECT_LE(taken, said + 2 * kPageBytes) << "rounded up to whole pages, each";
}

TEST(SharedSwapState, MetadataTakesAtMost32BytesAPage) {
  constexpr uint64_t kPages = BytesToPages(1024 * kMiB);
  const auto state = SharedSwapState::Create(kPages);
  ASSERT_TRUE(state.ok());
  EXPECT_LE((*state)->page_word_bytes() + (*state)->record_bytes(), kPages * 32);
}

// All that is needed to know where the content of a swapped page is: its word, its record, what the
// pool keeps about its object, and three bits of a page.
TEST(SharedSwapState, AllMetadataOfASwappedPageTakesAtMost32Bytes) {
  constexpr uint64_t kPages = 20000;
  const auto shared = SharedSwapState::Create(kPages);
  ASSERT_TRUE(shared.ok());
  SwapState& state = (*shared)->state();
  std::mt19937 random(1);
  for (uint64_t page = 0; page < kPages; ++page) {
    const std::vector<std::byte> object(300 + random() % 2700);
    const auto handle = state.pool().Store(object);
    ASSERT_TRUE(handle);
    const auto length = static_cast<uint32_t>(object.size());
    const auto id = state.table().Allocate({SwapLocation::InPool(Codec::kLz4, length, *handle), 0});
    ASSERT_TRUE(id);
    state.pool().SetOwner(*handle, {page});
  }
  constexpr uint64_t kWordBytes = 8;
  constexpr uint64_t kRecordBytes = 16;
  const uint64_t in_pool = kPages * SpanAllocator::kOwnerBytes + state.pool().bookkeeping_bytes() +
                           SpanAllocator::kSpanHeaderBytes * state.pool().stats().spans;
  const uint64_t all = kPages * (kWordBytes + kRecordBytes) + in_pool + kPages * 3 / 8;
  EXPECT_LE(all, kPages * 32) << static_cast<double>(all) / kPages << " bytes a page";
  EXPECT_EQ(SwapDescTable::BytesFor(1) - SwapDescTable::BytesFor(0), kRecordBytes);
  EXPECT_EQ(PageWords::BytesFor(1), kWordBytes);
}

TEST(SharedSwapState, ReadOnlyDescriptorsShowTheStateAndCannotChangeIt) {
  const auto state = SharedSwapState::Create(100);
  ASSERT_TRUE(state.ok());
  ASSERT_TRUE((*state)->state().words().TryMove({1}, PageWord(), PageState::kCooling));
  const auto fds = (*state)->OpenReadOnly();
  ASSERT_TRUE(fds.ok());
  uint64_t words[2] = {};
  ASSERT_EQ(pread((*fds)[0].get(), words, sizeof words, 0), static_cast<ssize_t>(sizeof words));
  EXPECT_EQ(PageWord(words[1]).state(), PageState::kCooling);
  for (const UniqueFd& fd : *fds) {
    EXPECT_LT(pwrite(fd.get(), words, sizeof words, 0), 0);
    EXPECT_EQ(mmap(nullptr, kPageBytes, PROT_WRITE, MAP_SHARED, fd.get(), 0), MAP_FAILED);
  }
}

TEST(SharedSwapState, EveryPageAndSpareCopiesHaveARecord) {
  const auto state = SharedSwapState::Create(100);
  ASSERT_TRUE(state.ok());
  for (int i = 0; i < 200; ++i) {
    EXPECT_TRUE((*state)->state().table().Allocate({SwapLocation::SameFilled(0), 0}));
  }
}

TEST(SharedSwapState, PoolsOfAllVmsTogetherKeepToTheirMaximum) {
  const std::vector<std::byte> object(3000);
  PoolBudget budget(kMiB);
  auto first = *SharedSwapState::Create(1000, {&budget, nullptr});
  auto second = *SharedSwapState::Create(1000, {&budget, nullptr});
  while (first->state().pool().Store(object)) {
  }
  EXPECT_GT(budget.used_bytes(), kMiB - 32 * kPageBytes);
  EXPECT_LE(budget.used_bytes(), kMiB);
  EXPECT_EQ(budget.used_bytes(), first->state().pool().stats().used_bytes);
  EXPECT_FALSE(second->state().pool().Store(object));
  first.reset();
  EXPECT_EQ(budget.used_bytes(), 0u) << "a VM that is gone takes nothing";
  EXPECT_TRUE(second->state().pool().Store(object));
}

TEST(SharedSwapState, MoreRamThanRecordsCanNameIsRefused) {
  const auto state = SharedSwapState::Create(UINT32_MAX);
  ASSERT_FALSE(state.ok());
  EXPECT_NE(state.status().message().find("16 TiB"), std::string::npos);
}

}  // namespace
}  // namespace ebb
