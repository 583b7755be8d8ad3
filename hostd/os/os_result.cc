// SPDX-License-Identifier: MIT
#include "hostd/os/os_result.h"

#include <cerrno>

namespace ebb {

const char* OsResultName(OsResult result) {
  switch (result) {
    case OsResult::kDone:
      return "done";
    case OsResult::kRetry:
      return "retry";
    case OsResult::kExists:
      return "exists";
    case OsResult::kNoMemory:
      return "no memory";
    case OsResult::kGone:
      return "process gone";
    case OsResult::kNotMapped:
      return "not mapped";
    case OsResult::kFailed:
      return "failed";
  }
  return "?";
}

OsResult ResultFromErrno() {
  switch (errno) {
    case EAGAIN:
    case EINTR:
      return OsResult::kRetry;
    case EEXIST:
      return OsResult::kExists;
    case ENOMEM:
    case ENOSPC:
      return OsResult::kNoMemory;
    case ESRCH:
      return OsResult::kGone;
    case ENOENT:
    case EFAULT:
    case EINVAL:
      return OsResult::kNotMapped;
    default:
      return OsResult::kFailed;
  }
}

absl::Status ErrnoStatus(const std::string& what) { return absl::ErrnoToStatus(errno, what); }

bool ErrnoIsTransient() { return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR; }

}  // namespace ebb
