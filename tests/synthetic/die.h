// SPDX-License-Identifier: MIT
#pragma once

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

namespace ebb::synthetic {

// Ends the synthetic VM because its surroundings are not as it needs them. A call that failed is
// told by errno. Not for wrong memory: that is counted, and the VM goes on.
[[noreturn]] inline void Die(const char* what) {
  std::fprintf(stderr, "synthetic VM: %s (%s)\n", what, std::strerror(errno));
  _exit(2);
}

}  // namespace ebb::synthetic
