// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "hostd/os/process.h"
#include "hostd/os/process_view.h"
#include "hostd/vm/attach_check.h"

namespace ebb {

// What QEMU has plugged into a VM or unplugged from it since it was attached. Its own word is not
// asked for: both show in what the process maps. RAM comes and goes by whole memfds here; one that
// is only mapped in part is no unplug, and is refused (CheckProcess).
struct RamChange {
  uint64_t plugged_bytes = 0;
  uint64_t unplugged_bytes = 0;

  bool any() const { return plugged_bytes != 0 || unplugged_bytes != 0; }
  // "128 MiB of memory were plugged into it"
  std::string Text() const;
};

// The memfds of `ram`, by index, that nobody but ebbd maps or has open any more: nobody can ever
// look at what is in them. None where it would be all of them.
std::vector<size_t> UnpluggedMemfds(const VmRam& ram, const FileUsers& users);

// Whether a memfd of `ram` is on its way out: QEMU unmaps it, which takes long, and closes it then.
bool IsBeingUnplugged(const VmRam& ram, int pid, const FileUsers& users);

// `ram` without these memfds' mappings; the numbers of the others stay.
VmRam WithoutMemfds(const VmRam& ram, const std::vector<size_t>& memfds);

// What the library would find: every mapping of guest RAM, parts that follow each other as one.
VmRam RamIn(const std::vector<Vma>& memory_map);

// From `before` to `now`, by files.
RamChange ChangeOf(const VmRam& before, const VmRam& now);

// Whether a VM whose RAM was `before` can be attached with what it has `now`. Looks at the process:
// not for the fault path.
absl::Status CheckCanReturn(int pid, const VmRam& before, const VmRam& now);

}  // namespace ebb
