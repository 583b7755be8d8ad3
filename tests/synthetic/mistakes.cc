// SPDX-License-Identifier: MIT
#include "tests/synthetic/mistakes.h"

#include <cerrno>
#include <cstdio>
#include <cstring>

namespace ebb::synthetic {
namespace {

constexpr uint64_t kMostLines = 40;

}  // namespace

void Mistakes::NoteWrong(const std::string& what) {
  if (wrong_.fetch_add(1) < kMostLines) std::fprintf(stderr, "WRONG: %s\n", what.c_str());
}

void Mistakes::NoteFailed(const std::string& what) {
  const char* reason = std::strerror(errno);
  if (failed_.fetch_add(1) < kMostLines) {
    std::fprintf(stderr, "FAILED: %s (%s)\n", what.c_str(), reason);
  }
}

}  // namespace ebb::synthetic
