// SPDX-License-Identifier: MIT
// One line per event on stderr, "<time> <level> <text>", for the journal or a terminal.
// Control characters in the text become '?'. Thread-safe. Waits for whoever reads stderr, so never
// on the fault path and never under a lock.
#pragma once

#include <string_view>

#include "absl/strings/str_format.h"

namespace ebb {

enum class LogLevel { kInfo, kWarning, kError };

void LogLine(LogLevel level, std::string_view text);

template <typename... Args>
void LogInfo(const absl::FormatSpec<Args...>& format, const Args&... args) {
  LogLine(LogLevel::kInfo, absl::StrFormat(format, args...));
}
template <typename... Args>
void LogWarning(const absl::FormatSpec<Args...>& format, const Args&... args) {
  LogLine(LogLevel::kWarning, absl::StrFormat(format, args...));
}
template <typename... Args>
void LogError(const absl::FormatSpec<Args...>& format, const Args&... args) {
  LogLine(LogLevel::kError, absl::StrFormat(format, args...));
}

}  // namespace ebb
