// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <vector>

#include "hostd/swap/host_tiers.h"
#include "hostd/vm/host.h"

namespace ebb {

// The tiers of a host as people see them, the pool first. Either may be null: the pools are not
// limited, there is no disk. `vms`: all of the host, whose figures add up to those of a tier.
// `now_ns` is monotonic. Any thread; waits for nothing.
std::vector<TierStatus> StatusOf(const PoolBudget* pool_budget, const DiskTier* disk,
                                 const std::vector<VmStatus>& vms, int64_t now_ns);

}  // namespace ebb
