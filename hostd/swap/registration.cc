// SPDX-License-Identifier: MIT
#include "hostd/swap/registration.h"

#include <algorithm>

namespace ebb {

Registration::Registration(GuestMemory* memory)
    : memory_(memory), registered_((memory->pages() + kChunkPages - 1) / kChunkPages, false) {}

PageRange Registration::Chunk(uint64_t index) const {
  const uint64_t first = index * kChunkPages;
  return {{first}, std::min(kChunkPages, memory_->pages() - first)};
}

template <typename Operation>
bool Registration::ForEachRunOf(PageRange chunk, Operation operation) {
  while (chunk.count > 0) {
    const PageRange run = memory_->FirstRun(chunk);
    if (!operation(run)) return false;
    chunk = {run.end(), chunk.count - run.count};
  }
  return true;
}

bool Registration::Ensure(PageRange range) {
  if (range.count == 0) return true;
  bool all = true;
  const uint64_t last = (range.end().value - 1) / kChunkPages;
  for (uint64_t index = range.first.value / kChunkPages; index <= last; ++index) {
    if (registered_[index]) continue;
    // Registering twice what once failed half way is harmless.
    registered_[index] = ForEachRunOf(
        Chunk(index), [this](PageRange run) { return memory_->Register(run) == OsResult::kDone; });
    // The others are registered all the same: a VM must not leave its limit through them unseen.
    all = all && registered_[index];
  }
  return all;
}

bool Registration::UnregisterAll() {
  for (uint64_t index = 0; index < registered_.size(); ++index) {
    if (!registered_[index]) continue;
    if (!ForEachRunOf(Chunk(index), [this](PageRange run) {
          const OsResult result = memory_->Unregister(run);
          // Not mapped: QEMU has unmapped it, and nothing is registered there any more.
          return result == OsResult::kDone || result == OsResult::kGone ||
                 result == OsResult::kNotMapped;
        })) {
      return false;
    }
    registered_[index] = false;
  }
  return true;
}

}  // namespace ebb
