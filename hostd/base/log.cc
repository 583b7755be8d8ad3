// SPDX-License-Identifier: MIT
#include "hostd/base/log.h"

#include <unistd.h>

#include <algorithm>
#include <string>

#include "hostd/base/wait_checks.h"
#include "hostd/base/wall_time.h"

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
  std::string line = absl::StrFormat("%s %s ", UtcText(WallTimeMs()), LevelName(level));
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
