// SPDX-License-Identifier: MIT
// The control API's figures in Prometheus' text format. docs/METRICS.md is their reference, and a
// test holds it to what is written here.
#pragma once

#include <cstdint>
#include <string>

#include "hostd/ctl/views.h"

namespace ebb {

// A VM's memory by where its content is, in bytes.
struct MemoryPlaces {
  uint64_t resident = 0;
  uint64_t pool = 0;
  uint64_t disk = 0;
  uint64_t zero = 0;       // same-filled: its record is all there is of it
  uint64_t untouched = 0;  // holes: never used, or given up by the guest
  uint64_t unmanaged = 0;  // of a VM that is detached: wherever the kernel has it

  bool operator==(const MemoryPlaces&) const = default;
};

// The places of a VmStatus, which always add up to its ram_bytes. Its figures were read one after
// the other while the guest ran, so that they may not: what is resident then counts first, and what
// is swapped out as far as there is room.
MemoryPlaces PlacesOf(const Json& vm);

// `host` is the answer of /v1/status, `vms` that of /v1/vms, `tiers` that of /v1/tiers. Fields that
// are missing count as 0.
std::string MetricsText(const Json& host, const Json& vms, const Json& tiers);

}  // namespace ebb
