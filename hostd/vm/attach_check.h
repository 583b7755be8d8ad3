// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "hostd/base/unique_fd.h"
#include "hostd/os/ram_layout.h"

namespace ebb {

// A RAM block as the library in QEMU describes it. Nothing of it is believed until checked.
struct ClaimedRamBlock {
  uint64_t hva = 0;
  uint64_t bytes = 0;
  uint64_t file_offset = 0;
  size_t memfd = 0;
};

// Whether Ebb may manage a VM is an allow-list (design, "Ownership, trust and crashes"). Every
// error says what was found, and what the operator can change.

// The layout, if it is what process `pid` really has mapped from these memfds.
absl::StatusOr<RamLayout> CheckRam(int pid, const std::vector<ClaimedRamBlock>& blocks,
                                   const std::vector<UniqueFd>& memfds);

// Everything about the process and the host that must hold for as long as a VM is attached. Reads
// much of /proc: call it at attach and then every few seconds, never on the fault path.
absl::Status CheckProcess(int pid, const std::vector<uint64_t>& ram_inodes);

std::vector<uint64_t> InodesOf(const std::vector<UniqueFd>& memfds);

}  // namespace ebb
