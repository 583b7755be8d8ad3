// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>

namespace ebb::hammer {

// Pages that were touched lately lie in a batch of the CPU that touched them until it is full, and
// only a thread on that CPU can unmap them. A guest with few pages would fill no batch: it stays on
// two CPUs, and on each of them runs one reclaimer, or on both of them one in turns.
inline constexpr size_t kCpus = 2;

// The calling thread, and what it starts from now on, stays on the first CPUs it may run on.
void StayOnFewCpus();
// The calling thread stays on one of them from now on.
void StayOnCpu(size_t number);

}  // namespace ebb::hammer
