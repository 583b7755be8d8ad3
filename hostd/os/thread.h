// SPDX-License-Identifier: MIT
#pragma once

#include "absl/status/status.h"

namespace ebb {

// What a thread is for decides its scheduling; see design "Threads".
enum class ThreadRole {
  kFault,    // answers faults and moves pages: before everything else on its CPU
  kReclaim,  // compresses: only with CPU time nobody else wants
};

// Names the calling thread (15 characters are kept) and sets its scheduling. Best effort.
void EnterThreadRole(const char* name, ThreadRole role);

// Keeps the daemon's own memory from being swapped out, and makes it the last to be killed.
absl::Status ProtectDaemon();

}  // namespace ebb
