// SPDX-License-Identifier: MIT
#include "hostd/swap/residency.h"

#include <gtest/gtest.h>

namespace ebb {
namespace {

class ResidencyTest : public testing::Test {
 protected:
  static constexpr uint64_t kLimit = BytesToPages(1024 * kMiB);
  static constexpr uint64_t kSlack = 4096;  // of that limit

  Residency residency_;
};

TEST_F(ResidencyTest, WithoutALimitThereIsNoTargetAndNoPacing) {
  residency_.Refresh(UINT64_MAX / 4);
  EXPECT_FALSE(residency_.limited());
  EXPECT_EQ(residency_.target(), UINT64_MAX);
  EXPECT_FALSE(residency_.MustPace());
}

TEST_F(ResidencyTest, TargetIsALittleUnderTheLimit) {
  residency_.SetLimit(kLimit);
  EXPECT_TRUE(residency_.limited());
  EXPECT_EQ(residency_.target(), kLimit - kSlack);
}

TEST_F(ResidencyTest, TargetOfEveryLimitIsPositiveAndBelowIt) {
  for (uint64_t limit = 2; limit < UINT64_MAX / 2; limit += limit / 2) {
    residency_.SetLimit(limit);
    EXPECT_LT(residency_.target(), limit);
    EXPECT_GE(residency_.target(), limit / 2);
  }
}

TEST_F(ResidencyTest, NothingIsPacedWhereThatIsOfNoUse) {
  residency_.SetLimit(kLimit);
  residency_.Refresh(2 * kLimit);
  ASSERT_TRUE(residency_.MustPace());
  residency_.SetMayPace(false);
  EXPECT_FALSE(residency_.MustPace());
  residency_.SetMayPace(true);
  EXPECT_TRUE(residency_.MustPace());
}

TEST_F(ResidencyTest, LimitCanBeLifted) {
  residency_.SetLimit(kLimit);
  residency_.SetLimit(UINT64_MAX);
  EXPECT_FALSE(residency_.limited());
}

TEST_F(ResidencyTest, MissingMemoryIsTakenOnce) {
  EXPECT_FALSE(residency_.TakeNoMemory());
  residency_.NoteNoMemory();
  residency_.NoteNoMemory();
  EXPECT_TRUE(residency_.TakeNoMemory());
  EXPECT_FALSE(residency_.TakeNoMemory());
}

TEST_F(ResidencyTest, AddsAndRefreshesAddUp) {
  residency_.Refresh(100);
  residency_.Add(5);
  residency_.Add(-15);
  EXPECT_EQ(residency_.resident(), 90u);
  residency_.Refresh(7);
  EXPECT_EQ(residency_.resident(), 7u);
}

TEST_F(ResidencyTest, EstimateBelowZeroShowsAsZero) {
  residency_.Refresh(3);
  residency_.Add(-10);
  EXPECT_EQ(residency_.resident(), 0u);
}

struct PacingCase {
  uint64_t resident;
  uint64_t ready;
  bool paced;
};

TEST_F(ResidencyTest, PacesAtTheLimitWithAnEmptyReserveOrFarBeyondIt) {
  residency_.SetLimit(kLimit);
  for (const PacingCase& c :
       {PacingCase{kLimit - 1, 0, false}, PacingCase{kLimit, 0, true}, PacingCase{kLimit, 1, false},
        PacingCase{kLimit + 1, 1000, false}, PacingCase{kLimit + kSlack - 1, 1, false},
        PacingCase{kLimit + kSlack, 1000, true}}) {
    residency_.Refresh(c.resident);
    residency_.SetReady(c.ready);
    EXPECT_EQ(residency_.MustPace(), c.paced) << c.resident << " resident, " << c.ready << " ready";
  }
}

TEST(Residency, LimitThatKeepsLeavesAsMuchUnderItsTarget) {
  for (uint64_t pages = 1; pages < (uint64_t{1} << 30); pages = pages * 3 / 2 + 1) {
    Residency residency;
    residency.SetLimit(Residency::LimitThatKeeps(pages));
    ASSERT_GE(residency.target(), pages);
    ASSERT_LE(residency.limit(), pages + 4096);
  }
}

}  // namespace
}  // namespace ebb
