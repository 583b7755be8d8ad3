// SPDX-License-Identifier: MIT
#include "qemu-plugin/status_log.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

namespace ebb::plugin {
namespace {

class StatusLogTest : public testing::Test {
 protected:
  void SetUp() override { testing::internal::CaptureStderr(); }
  static std::string Written() { return testing::internal::GetCapturedStderr(); }
};

TEST_F(StatusLogTest, SaysOnlyWhatChanged) {
  StatusLog log;
  log.Say("no daemon (%d)", 1);
  log.Say("no daemon (%d)", 1);
  log.Say("attached");
  log.Say("no daemon (%d)", 1);
  EXPECT_EQ(Written(), "ebb: no daemon (1)\nebb: attached\nebb: no daemon (1)\n");
}

TEST_F(StatusLogTest, FlappingGetsQuiet) {
  StatusLog log;
  for (int i = 0; i < 1000; ++i) log.Say("line %d", i);
  std::string written = Written();
  auto lines = std::count(written.begin(), written.end(), '\n');
  EXPECT_GE(lines, StatusLog::kLinesPerMinute);
  // The loop may have met the start of a new minute.
  EXPECT_LE(lines, 2 * StatusLog::kLinesPerMinute);
  EXPECT_NE(written.find("ebb: no more lines in this minute\n"), std::string::npos);
}

TEST_F(StatusLogTest, LongTextIsOneLine) {
  WriteLine("%s", std::string(5000, 'x').c_str());
  std::string written = Written();
  EXPECT_LT(written.size(), 700u);
  EXPECT_EQ(written.back(), '\n');
  EXPECT_EQ(std::count(written.begin(), written.end(), '\n'), 1);
}

}  // namespace
}  // namespace ebb::plugin
