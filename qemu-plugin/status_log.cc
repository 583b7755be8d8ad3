// SPDX-License-Identifier: MIT
#include "qemu-plugin/status_log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

namespace ebb::plugin {

void WriteLine(const char* format, ...) {
  char line[600] = "ebb: ";
  va_list values;
  va_start(values, format);
  vsnprintf(line + 5, sizeof line - 6, format, values);
  va_end(values);
  strcat(line, "\n");
  // One write keeps lines of different threads whole; nothing can be done if stderr is gone.
  [[maybe_unused]] ssize_t written = write(STDERR_FILENO, line, strlen(line));
}

bool StatusLog::MayWrite() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  const int64_t minute = now.tv_sec / 60;
  if (minute != minute_) {
    minute_ = minute;
    lines_this_minute_ = 0;
  }
  ++lines_this_minute_;
  if (lines_this_minute_ == kLinesPerMinute) WriteLine("no more lines in this minute");
  return lines_this_minute_ < kLinesPerMinute;
}

void StatusLog::Say(const char* format, ...) {
  char text[sizeof last_];
  va_list values;
  va_start(values, format);
  vsnprintf(text, sizeof text, format, values);
  va_end(values);
  if (strcmp(text, last_) == 0) return;
  memcpy(last_, text, sizeof last_);
  if (MayWrite()) WriteLine("%s", text);
}

}  // namespace ebb::plugin
