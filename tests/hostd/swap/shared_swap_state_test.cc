// SPDX-License-Identifier: MIT
#include "hostd/swap/shared_swap_state.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>

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

TEST(SharedSwapState, MoreRamThanRecordsCanNameIsRefused) {
  const auto state = SharedSwapState::Create(UINT32_MAX);
  ASSERT_FALSE(state.ok());
  EXPECT_NE(state.status().message().find("16 TiB"), std::string::npos);
}

}  // namespace
}  // namespace ebb
