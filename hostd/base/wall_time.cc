// SPDX-License-Identifier: MIT
#include "hostd/base/wall_time.h"

#include <ctime>

#include "absl/strings/str_format.h"

namespace ebb {

int64_t WallTimeMs() {
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1000000;
}

std::string UtcText(int64_t wall_time_ms) {
  const time_t seconds = wall_time_ms / 1000;
  tm parts;
  gmtime_r(&seconds, &parts);
  char text[32];
  strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts);
  return absl::StrFormat("%s.%03dZ", text, wall_time_ms % 1000);
}

}  // namespace ebb
