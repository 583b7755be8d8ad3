// SPDX-License-Identifier: MIT
// What the kernel says about descriptors that came from an untrusted process.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "hostd/os/process.h"

namespace ebb {

struct MemfdInfo {
  FileId file;
  uint64_t bytes = 0;
  uint64_t page_bytes = 0;  // 4096 unless hugetlb
};

// How the link in /proc/PID/fd of every memfd begins.
inline constexpr char kMemfdNamePrefix[] = "/memfd:";

// Fails unless `fd` is a memfd open for reading and writing that can be punched.
absl::StatusOr<MemfdInfo> InspectMemfd(int fd);

// Fails unless `fd` is a userfaultfd.
absl::Status CheckIsUserfaultfd(int fd);

}  // namespace ebb
