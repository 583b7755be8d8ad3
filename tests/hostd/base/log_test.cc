// SPDX-License-Identifier: MIT
#include "hostd/base/log.h"

#include <gtest/gtest.h>

#include <regex>
#include <string>
#include <thread>
#include <vector>

namespace ebb {
namespace {

using testing::internal::CaptureStderr;
using testing::internal::GetCapturedStderr;

std::vector<std::string> Lines(const std::string& text) {
  std::vector<std::string> lines;
  for (size_t start = 0, end; (end = text.find('\n', start)) != text.npos; start = end + 1)
    lines.push_back(text.substr(start, end - start));
  return lines;
}

TEST(Log, OneLineWithTimeLevelAndText) {
  CaptureStderr();
  LogWarning("%s is held: %d pages", "vm1", 3);
  const std::string line = GetCapturedStderr();
  const std::regex expected(
      R"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z warning vm1 is held: 3 pages\n)");
  EXPECT_TRUE(std::regex_match(line, expected)) << line;
}

TEST(Log, EachLevelHasItsName) {
  CaptureStderr();
  LogInfo("a");
  LogWarning("b");
  LogError("c");
  const std::vector<std::string> lines = Lines(GetCapturedStderr());
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_TRUE(lines[0].ends_with("Z info a")) << lines[0];
  EXPECT_TRUE(lines[1].ends_with("Z warning b")) << lines[1];
  EXPECT_TRUE(lines[2].ends_with("Z error c")) << lines[2];
}

TEST(Log, TextCannotForgeALineOrSpeakToTheTerminal) {
  CaptureStderr();
  LogInfo("%s is lost", "/tmp/a\n2026-01-01T00:00:00.000Z error vm2\x1b[2J\x7f");
  const std::vector<std::string> lines = Lines(GetCapturedStderr());
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_TRUE(lines[0].ends_with("/tmp/a?2026-01-01T00:00:00.000Z error vm2?[2J? is lost"))
      << lines[0];
}

TEST(Log, LinesOfSeveralThreadsStayWhole) {
  constexpr int kThreads = 4;
  constexpr int kLinesPerThread = 200;
  const std::string text(200, 'x');
  CaptureStderr();
  std::vector<std::jthread> threads;
  for (int thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&text] {
      for (int line = 0; line < kLinesPerThread; ++line) LogInfo("%s", text);
    });
  }
  threads.clear();  // joins
  const std::vector<std::string> lines = Lines(GetCapturedStderr());
  EXPECT_EQ(lines.size(), static_cast<size_t>(kThreads * kLinesPerThread));
  for (const std::string& line : lines) EXPECT_TRUE(line.ends_with("Z info " + text)) << line;
}

}  // namespace
}  // namespace ebb
