// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "hostd/base/unique_fd.h"
#include "hostd/os/descriptor.h"
#include "hostd/os/process.h"
#include "hostd/os/process_view.h"
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
// error says what was found, and what the operator can change (docs/LIMITS.md). kFailedPrecondition
// is a condition that does not hold, kInvalidArgument a claim that is wrong; any other error means
// that something could not be looked at, which is refused as well. All but the pure ones read much
// of /proc: they are not for the fault path.

// At attach: the RAM, if process `pid` really has mapped these memfds so, and nobody else has them.
absl::StatusOr<VmRam> CheckRam(int pid, const std::vector<ClaimedRamBlock>& blocks,
                               const std::vector<UniqueFd>& memfds);

// What must hold for as long as a VM is attached: looked at every few seconds. `users` are
// UsersOf the RAM of this VM, and maybe of others.
absl::Status CheckStillAllowed(int pid, const VmRam& ram, const FileUsers& users);

// At attach, too: whether that QEMU (major << 16 | minor << 8 | micro, 0: not known) could execute
// another that takes its memory over. Pure.
absl::Status CheckCannotExec(uint32_t qemu_version, const std::vector<std::string>& command_line);

// Parts of the first two, pure.
absl::StatusOr<RamLayout> LayOutRam(const std::vector<ClaimedRamBlock>& blocks,
                                    const std::vector<MemfdInfo>& memfds);
absl::Status CheckProcess(int pid, const VmRam& ram, const ProcessView& view, const HostView& host);

}  // namespace ebb
