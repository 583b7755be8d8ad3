// SPDX-License-Identifier: MIT
// What the program says, one JSON object a line, for tests/bench/engine.py.
#pragma once

#include <cstdio>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"

namespace ebb::bench {

// What is going on, while it does.
inline void SayProgress(const std::string& text) {
  absl::PrintF("{\"progress\": \"%s\"}\n", text);
  std::fflush(stdout);
}

inline void SayFigure(const char* name, double value, const char* unit) {
  absl::PrintF("{\"name\": \"%s\", \"value\": %.6g, \"unit\": \"%s\"}\n", name, value, unit);
  std::fflush(stdout);
}

// Anything else that somebody who reads the figures needs.
inline void SayCounts(const char* name, const std::vector<uint64_t>& counts) {
  absl::PrintF("{\"counts\": \"%s\", \"values\": [%s]}\n", name, absl::StrJoin(counts, ", "));
  std::fflush(stdout);
}

}  // namespace ebb::bench
