// SPDX-License-Identifier: MIT
#pragma once

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "hostd/base/unique_fd.h"

namespace ebb {

// /dev/userfaultfd (Linux 6.1). The library in an unprivileged QEMU makes its userfaultfd from it,
// and gets one that covers kernel-mode faults.
absl::StatusOr<UniqueFd> OpenUserfaultfdDevice();

// Tries, on scratch memory of a child process and in well under 100 ms, every kernel behaviour the
// page protocol rests on. The error names the first one that is missing. Call before starting
// threads: it forks.
absl::Status ProbeKernel(int userfaultfd_device);

}  // namespace ebb
