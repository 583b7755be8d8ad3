// SPDX-License-Identifier: MIT
#include "hostd/swap/swap_state.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "hostd/base/units.h"

namespace ebb {
namespace {

TEST(SwapState, FreshStateHasAllPagesResident) {
  const auto state = SwapState::Create(100);
  ASSERT_TRUE(state.ok());
  for (PageIndex page; page.value < 100; page = page + 1) {
    EXPECT_EQ((*state)->words().Load(page), PageWord());
  }
  EXPECT_EQ((*state)->stats().swapped_pages, 0u);
}

TEST(SwapState, WordsAndRecordsAreAllocatedAtOnce) {
  const auto state = SwapState::Create(100'000);
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

TEST(SwapState, MetadataIsWhatItWasSaidToBe) {
  const auto state = SwapState::Create(100'000);
  ASSERT_TRUE(state.ok());
  const uint64_t said = SwapState::MetadataBytes(100'000);
  const uint64_t taken = (*state)->page_word_bytes() + (*state)->record_bytes();
  EXPECT_GE(taken, said);
  EXPECT_LE(taken, said + 2 * kPageBytes) << "rounded up to whole pages, each";
}

TEST(SwapState, MetadataTakesAtMost32BytesAPage) {
  constexpr uint64_t kPages = BytesToPages(1024 * kMiB);
  const auto state = SwapState::Create(kPages);
  ASSERT_TRUE(state.ok());
  EXPECT_LE((*state)->page_word_bytes() + (*state)->record_bytes(), kPages * 32);
}

TEST(SwapState, ReadOnlyDescriptorsShowTheStateAndCannotChangeIt) {
  const auto state = SwapState::Create(100);
  ASSERT_TRUE(state.ok());
  ASSERT_TRUE((*state)->words().TryMove({1}, PageWord(), PageState::kCooling));
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

TEST(SwapState, ReapFreesPoolStorageOfRetiredRecordsOnly) {
  const auto state = SwapState::Create(100);
  ASSERT_TRUE(state.ok());
  const std::array<std::byte, kPageBytes> page = {};
  const auto kept = (*state)->table().Allocate({*(*state)->pool().Store(page.data()), 0});
  const auto retired = (*state)->table().Allocate({*(*state)->pool().Store(page.data()), 0});
  const auto same_filled = (*state)->table().Allocate({SwapLocation::SameFilled(0), 0});
  (*state)->table().Retire(*retired);
  (*state)->table().Retire(*same_filled);
  EXPECT_EQ((*state)->pool().stats().original_bytes, 2 * kPageBytes);
  (*state)->ReapRetired();
  EXPECT_EQ((*state)->pool().stats().original_bytes, kPageBytes);
  EXPECT_EQ((*state)->table().Load(*kept).location.tier(), TierKind::kPool);
}

TEST(SwapState, EveryPageAndSpareCopiesHaveARecord) {
  const auto state = SwapState::Create(100);
  ASSERT_TRUE(state.ok());
  for (int i = 0; i < 200; ++i) {
    EXPECT_TRUE((*state)->table().Allocate({SwapLocation::SameFilled(0), 0}));
  }
}

TEST(SwapState, MoreRamThanRecordsCanNameIsRefused) {
  const auto state = SwapState::Create(UINT32_MAX);
  ASSERT_FALSE(state.ok());
  EXPECT_NE(state.status().message().find("16 TiB"), std::string::npos);
}

}  // namespace
}  // namespace ebb
