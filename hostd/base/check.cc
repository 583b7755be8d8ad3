// SPDX-License-Identifier: MIT
#include "hostd/base/check.h"

#include <cstdio>
#include <cstdlib>

#include "hostd/base/wait_checks.h"

namespace ebb {

void CheckFailed(const char* file, int line, const char* condition, const char* message) {
  const AnotherThreadsWork last_words;
  std::fprintf(stderr, "CHECK failed at %s:%d: %s: %s\n", file, line, condition, message);
  std::abort();
}

}  // namespace ebb
