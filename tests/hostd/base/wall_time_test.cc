// SPDX-License-Identifier: MIT
#include "hostd/base/wall_time.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <ctime>

namespace ebb {
namespace {

TEST(WallTime, IsTheTimeOfDay) {
  const int64_t before_ms = int64_t{time(nullptr)} * 1000;
  const int64_t now_ms = WallTimeMs();
  EXPECT_GE(now_ms, before_ms - 1000);  // time() may lag behind by a tick
  EXPECT_LE(now_ms, before_ms + 60000);
}

TEST(WallTime, TextIsRfc3339InUtcWhateverTheTimeZone) {
  setenv("TZ", "Asia/Tokyo", 1);
  tzset();
  EXPECT_EQ(UtcText(0), "1970-01-01T00:00:00.000Z");
  EXPECT_EQ(UtcText(951782400007), "2000-02-29T00:00:00.007Z");
  EXPECT_EQ(UtcText(1769903999999), "2026-01-31T23:59:59.999Z");
}

}  // namespace
}  // namespace ebb
