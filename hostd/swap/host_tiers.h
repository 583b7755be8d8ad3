// SPDX-License-Identifier: MIT
#pragma once

#include "hostd/swap/pool_budget.h"
#include "hostd/tiers/disk/disk_tier.h"

namespace ebb {

// What the VMs of a host share of its tiers; they outlive the VMs.
struct HostTiers {
  PoolBudget* pool_budget = nullptr;  // null: the pools are not limited
  DiskTier* disk = nullptr;           // null: there is none
};

}  // namespace ebb
