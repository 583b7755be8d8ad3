// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <vector>

#include "hostd/base/units.h"
#include "hostd/os/guest_memory.h"

namespace ebb {

// Which parts of a VM's RAM raise messages. RAM is registered in chunks, when the first page of one
// is about to be taken, so that first touches of memory nobody wants cost the guest nothing.
// Reclaim thread only.
class Registration {
 public:
  explicit Registration(GuestMemory* memory);

  // Registers the chunks of `range`; false where the kernel refused (the memory map is changing) or
  // QEMU has unmapped it. Cheap when they are registered.
  //
  // What is registered is RAM of the layout, for as long as it is: looked at once it raises
  // messages, so that nothing that lies there later, where RAM was unplugged, is taken for it.
  bool Ensure(PageRange range);
  bool EnsureAll() { return Ensure({{0}, memory_->pages()}); }

  // Every page must be accessible before this: a registered hole's waiters would see zeros.
  bool UnregisterAll();

 private:
  static constexpr uint64_t kChunkPages = BytesToPages(16 * kMiB);

  PageRange Chunk(uint64_t index) const;
  // Applies `operation` to each mapping's part of a chunk.
  template <typename Operation>
  bool ForEachRunOf(PageRange chunk, Operation operation);

  bool Register(PageRange chunk);
  bool Unregister(PageRange chunk);
  // Lets go of those of these chunks that QEMU does not map; false if there are any.
  bool KeepMapped(const std::vector<uint64_t>& chunks);

  GuestMemory* memory_;
  std::vector<bool> registered_;
  std::vector<bool> unplugged_;  // for good: a part of the chunk is not mapped any more
};

}  // namespace ebb
