// SPDX-License-Identifier: MIT
#include "hostd/base/log.h"

#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <string>

#include "hostd/base/wait_checks.h"

namespace ebb {
namespace {

const char* LevelName(LogLevel level) {
  switch (level) {
    case LogLevel::kInfo:
      return "info";
    case LogLevel::kWarning:
      return "warning";
    case LogLevel::kError:
      return "error";
  }
  return "?";
}

}  // namespace

void LogLine(LogLevel level, std::string_view text) {
  MayWait("for whoever reads stderr");  // also where formatting a line would be the first mistake
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  tm parts;
  gmtime_r(&now.tv_sec, &parts);
  char time[32];
  strftime(time, sizeof time, "%Y-%m-%dT%H:%M:%S", &parts);
  std::string line = absl::StrFormat("%s.%03dZ %s ", time, now.tv_nsec / 1000000, LevelName(level));
  const size_t start = line.size();
  line.append(text);
  // Text may come from a stranger, who must not write lines of its own.
  const auto is_control = [](unsigned char c) { return c < ' ' || c == 0x7f; };
  std::replace_if(line.begin() + static_cast<ptrdiff_t>(start), line.end(), is_control, '?');
  line.push_back('\n');
  // One write keeps lines of different threads whole; nothing can be done if stderr is gone.
  // style-ok(wait): the first line has asked
  [[maybe_unused]] ssize_t written = write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace ebb
