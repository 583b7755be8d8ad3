// SPDX-License-Identifier: MIT
#include "hostd/swap/memory_shortage.h"

#include <gtest/gtest.h>

namespace ebb {
namespace {

constexpr uint64_t kRoom = MemoryShortage::kRoomPages;
constexpr uint64_t kOut = 1000;  // when it begins
constexpr uint64_t kIn = 500;
constexpr int64_t kBegin = kNsPerS;

MemoryShortage Begun() {
  MemoryShortage shortage;
  shortage.Begin(kOut, kIn, kBegin);
  return shortage;
}

TEST(MemoryShortage, NobodyWaitsWhereNoneHasBegun) {
  MemoryShortage shortage;
  EXPECT_FALSE(shortage.MustWait(0, 100, kBegin));
  EXPECT_FALSE(shortage.lasts());
}

TEST(MemoryShortage, WhoNeedsAPageWaitsUntilEnoughIsFreed) {
  MemoryShortage shortage = Begun();
  EXPECT_TRUE(shortage.MustWait(kOut, kIn, kBegin));
  EXPECT_TRUE(shortage.MustWait(kOut + kRoom - 1, kIn, kBegin));
  EXPECT_FALSE(shortage.MustWait(kOut + kRoom, kIn, kBegin));
}

TEST(MemoryShortage, RoomIsLeftOfWhatIsFreed) {
  MemoryShortage shortage = Begun();
  EXPECT_FALSE(shortage.MustWait(kOut + kRoom + 10, kIn + 10, kBegin));
  EXPECT_TRUE(shortage.MustWait(kOut + kRoom + 10, kIn + 11, kBegin));
  EXPECT_TRUE(shortage.lasts());
}

TEST(MemoryShortage, OneTriesNowAndThen) {
  MemoryShortage shortage = Begun();
  const int64_t next = kBegin + MemoryShortage::kTryNs;
  EXPECT_TRUE(shortage.MustWait(kOut, kIn, next - 1));
  EXPECT_FALSE(shortage.MustWait(kOut, kIn, next));
  EXPECT_TRUE(shortage.MustWait(kOut, kIn, next));
}

TEST(MemoryShortage, ItIsOverWhenMoreComesInThanWasFreed) {
  MemoryShortage shortage = Begun();
  EXPECT_FALSE(shortage.MustWait(kOut + 7, kIn + 8, kBegin));
  EXPECT_FALSE(shortage.lasts());
  EXPECT_FALSE(shortage.MustWait(kOut + 7, kIn + 1000, kBegin));
}

}  // namespace
}  // namespace ebb
