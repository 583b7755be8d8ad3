// SPDX-License-Identifier: MIT
#include "hostd/swap/swap_state.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <map>
#include <optional>
#include <random>
#include <span>
#include <thread>
#include <vector>

#include "tests/hostd/tiers/pool/fake_pool_memory.h"

namespace ebb {
namespace {

class SwapStateTest : public testing::Test {
 protected:
  static constexpr uint64_t kPages = 100'000;
  static constexpr uint32_t kRecords = 5000;
  static constexpr uint32_t kObjectBytes = 1000;

  // An object that holds its record's checksum all over, of the page of that number.
  SwapId Store(uint32_t content) {
    std::vector<std::byte> object(kObjectBytes);
    for (size_t at = 0; at < object.size(); at += sizeof content) {
      std::memcpy(object.data() + at, &content, sizeof content);
    }
    const PoolHandle handle = *state_.pool().Store(object);
    const auto location = SwapLocation::InPool(Codec::kLz4, kObjectBytes, handle);
    const SwapId id = *state_.table().Allocate({location, content});
    state_.pool().SetOwner(handle, {content});
    PageWords& words = state_.words();
    for (const PageState to : {PageState::kCooling, PageState::kGuarded, PageState::kSwappingOut}) {
      EXPECT_TRUE(words.TryMove({content}, words.Load({content}), to));
    }
    EXPECT_TRUE(words.TryMove({content}, words.Load({content}), PageState::kDropping, id));
    words.Leave({content}, PageState::kSwapped, id);
    return id;
  }
  std::span<const std::byte> ObjectOf(SwapId id) {
    const SwapLocation location = state_.table().Load(id).location;
    return state_.pool().Object(location.pool_handle(), location.length_bytes());
  }
  static bool Holds(std::span<const std::byte> object, uint32_t content) {
    for (size_t at = 0; at < object.size(); at += sizeof content) {
      if (std::memcmp(object.data() + at, &content, sizeof content) != 0) return false;
    }
    return object.size() == kObjectBytes;
  }
  bool IsRight(SwapId id) { return Holds(ObjectOf(id), state_.table().Load(id).checksum); }

  // A pool in which much memory can be won; what is left in it.
  std::vector<SwapId> StoreSparsely() {
    std::vector<SwapId> kept;
    for (uint32_t i = 0; i < 4000; ++i) {
      const SwapId id = Store(i);
      if (i % 8 == 0) {
        kept.push_back(id);
      } else {
        state_.table().Retire(id);
      }
    }
    state_.ReapRetired();
    return kept;
  }
  void CompactAll() {
    while (state_.Compact()) {
    }
  }

  std::vector<std::byte> words_{PageWords::BytesFor(kPages)};
  std::vector<std::byte> records_{SwapDescTable::BytesFor(kRecords)};
  FakePoolMemory pool_{16 * kMiB};
  SwapState state_{{words_.data(), records_.data(), &pool_}, kPages, kRecords};
};

TEST_F(SwapStateTest, FreshStateHasAllPagesResident) {
  for (PageIndex page; page.value < kPages; page = page + 1) {
    EXPECT_EQ(state_.words().Load(page), PageWord());
  }
  EXPECT_EQ(state_.stats().swapped_pages, 0u);
}

TEST_F(SwapStateTest, ReapFreesPoolStorageOfRetiredRecordsOnly) {
  const SwapId kept = Store(1);
  const SwapId retired = Store(2);
  const auto same_filled = state_.table().Allocate({SwapLocation::SameFilled(0), 0});
  state_.table().Retire(retired);
  state_.table().Retire(*same_filled);
  EXPECT_EQ(state_.pool().stats().objects, 2u);
  state_.ReapRetired();
  EXPECT_EQ(state_.pool().stats().objects, 1u);
  EXPECT_TRUE(IsRight(kept));
}

TEST_F(SwapStateTest, CompactingTouchesRecordsOnlyAndReturnsTheMemory) {
  const std::vector<SwapId> kept = StoreSparsely();
  const uint64_t before = pool_.allocated_bytes();
  const std::vector<std::byte> words = words_;
  CompactAll();
  EXPECT_LT(pool_.allocated_bytes(), before / 2);
  EXPECT_EQ(words_, words);
  for (const SwapId id : kept) ASSERT_TRUE(IsRight(id));
}

TEST_F(SwapStateTest, NothingIsReusedWhileSomebodyReadsThere) {
  const std::vector<SwapId> kept = StoreSparsely();
  RecordReaders::Reader reader(&state_.readers());
  std::optional<RecordReaders::Reading> reading(&reader);
  std::map<uint32_t, std::span<const std::byte>> found;
  for (const SwapId id : kept) found[state_.table().Load(id).checksum] = ObjectOf(id);
  for (int pass = 0; pass < 10; ++pass) EXPECT_TRUE(state_.Compact());
  for (uint32_t i = 0; i < 1000; ++i) state_.table().Retire(Store(10000 + i));
  for (const auto& [content, object] : found) ASSERT_TRUE(Holds(object, content));
  reading.reset();
  CompactAll();
  for (const SwapId id : kept) ASSERT_TRUE(IsRight(id));
}

TEST_F(SwapStateTest, ObjectThatIsNotNeededAnyMoreIsFreedWhereItWasMovedTo) {
  const std::vector<SwapId> kept = StoreSparsely();
  EXPECT_TRUE(state_.Compact());
  for (const SwapId id : kept) state_.table().Retire(id);
  state_.ReapRetired();
  CompactAll();
  EXPECT_EQ(state_.pool().stats().objects, 0u);
  EXPECT_EQ(state_.pool().stats().object_bytes, 0u);
}

// One thread stores, retires and compacts; others read what records name at any time.
TEST_F(SwapStateTest, ReadersNeverSeeAnythingButTheContentOfTheirRecord) {
  constexpr unsigned kSeed = 77;
  constexpr uint32_t kRead = 64;  // records that readers look at, never retired
  constexpr size_t kOthers = 2000;
  SCOPED_TRACE(testing::Message() << "seed " << kSeed);
  std::mt19937 random(kSeed);
  uint32_t content = kRead;
  std::vector<SwapId> read;
  std::vector<SwapId> others;
  for (uint32_t i = 0; i < kRead; ++i) {
    read.push_back(Store(i));
    while (others.size() < (i + 1) * kOthers / kRead) others.push_back(Store(content++));
  }
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> wrong{0};
  std::vector<std::jthread> readers;
  for (uint32_t first = 0; first < 2; ++first) {
    readers.emplace_back([&, first] {
      RecordReaders::Reader reader(&state_.readers());
      for (uint32_t turn = first; !stop.load(); ++turn) {
        const RecordReaders::Reading reading(&reader);
        if (!IsRight(read[turn % kRead])) wrong.fetch_add(1);
      }
    });
  }
  for (int round = 0; round < 30; ++round) {
    std::shuffle(others.begin(), others.end(), random);
    for (; others.size() > kOthers / 6; others.pop_back()) state_.table().Retire(others.back());
    state_.ReapRetired();
    for (int pass = 0; pass < 100; ++pass) state_.Compact();
    while (others.size() < kOthers) others.push_back(Store(content++));
  }
  stop.store(true);
  readers.clear();
  EXPECT_EQ(wrong.load(), 0u);
  EXPECT_GT(state_.pool().stats().moved_bytes, 0u);
  for (const SwapId id : others) ASSERT_TRUE(IsRight(id));
}

}  // namespace
}  // namespace ebb
