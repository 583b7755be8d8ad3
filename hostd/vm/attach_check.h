// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "hostd/base/unique_fd.h"
#include "hostd/os/process.h"
#include "hostd/os/ram_layout.h"

namespace ebb {

// A RAM block as the library in QEMU describes it. Nothing of it is believed until checked.
struct ClaimedRamBlock {
  uint64_t hva = 0;
  uint64_t bytes = 0;
  uint64_t file_offset = 0;
  size_t memfd = 0;
};

// What was found to be a VM's RAM.
struct VmRam {
  RamLayout layout;
  std::vector<FileId> files;  // of its memfds
};

// Whether Ebb may manage a VM is an allow-list (design, "Ownership, trust and crashes"). Every
// error says what was found, and what the operator can change. All of these read much of /proc:
// they are not for the fault path.

// At attach: the RAM, if process `pid` really has mapped these memfds so, and nobody else has them.
absl::StatusOr<VmRam> CheckRam(int pid, const std::vector<ClaimedRamBlock>& blocks,
                               const std::vector<UniqueFd>& memfds);

// What must hold for as long as a VM is attached: looked at every few seconds. `mappers` is
// MappersOf the RAM of this VM, and maybe of others.
absl::Status CheckStillAllowed(int pid, const VmRam& ram, const std::vector<FileUser>& mappers);

}  // namespace ebb
