// SPDX-License-Identifier: MIT
// errno becomes a word here, once. The rest of the daemon never sees errno.
#pragma once

#include <string>

#include "absl/status/status.h"

namespace ebb {

// What the kernel answered to an operation on guest memory. Allocation-free.
enum class OsResult {
  kDone,
  kRetry,      // EAGAIN: the VM's memory map is changing; read pending events, then try again
  kExists,     // EEXIST: the page is already there; nobody was woken
  kNoMemory,   // ENOMEM: the host or the VM's memory cgroup is full
  kGone,       // ESRCH: QEMU has exited
  kNotMapped,  // ENOENT, EFAULT, EINVAL: no registered mapping (any more) at that address
  kFailed,     // anything else; logged by the caller
};

const char* OsResultName(OsResult result);

// Translates the current errno. Call directly after the failed system call.
OsResult ResultFromErrno();

// "WHAT: strerror" with the fitting absl code, from the current errno.
absl::Status ErrnoStatus(const std::string& what);

// True where the last failed system call was interrupted or would block; the current errno.
bool ErrnoIsTransient();

}  // namespace ebb
