// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <memory>

#include "hostd/base/unique_fd.h"
#include "hostd/os/disk.h"

namespace ebb {

// The first `bytes` of what `file` is, which must have been opened for direct I/O (DiskFile does
// it), through io_uring. Each queue keeps the file open, also after the disk has gone; so does what
// is in flight, after its queue has gone, and after a killed ebbd has.
//
// The thread that uses a queue must live as long as what it has started: the kernel may give up
// reads and writes of a thread that ends. They fail then.
std::unique_ptr<Disk> MakeUringDisk(UniqueFd file, uint64_t bytes);

}  // namespace ebb
