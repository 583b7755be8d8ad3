// SPDX-License-Identifier: MIT
#include "hostd/swap/registration.h"

#include <algorithm>

namespace ebb {

Registration::Registration(GuestMemory* memory)
    : memory_(memory),
      registered_((memory->pages() + kChunkPages - 1) / kChunkPages, false),
      unplugged_(registered_.size(), false) {}

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

bool Registration::Register(PageRange chunk) {
  const bool all = ForEachRunOf(
      chunk, [this](PageRange run) { return memory_->Register(run) == OsResult::kDone; });
  if (!all) Unregister(chunk);  // of which a part may be registered
  return all;
}

bool Registration::Unregister(PageRange chunk) {
  return ForEachRunOf(chunk, [this](PageRange run) {
    const OsResult result = memory_->Unregister(run);
    // Not mapped: QEMU has unmapped it, and nothing is registered there any more.
    return result == OsResult::kDone || result == OsResult::kGone || result == OsResult::kNotMapped;
  });
}

bool Registration::Ensure(PageRange range) {
  if (range.count == 0) return true;
  bool all = true;
  std::vector<uint64_t> tried;
  const uint64_t last = (range.end().value - 1) / kChunkPages;
  for (uint64_t index = range.first.value / kChunkPages; index <= last; ++index) {
    if (registered_[index]) continue;
    registered_[index] = !unplugged_[index] && Register(Chunk(index));
    // The others are registered all the same: a VM must not leave its limit through them unseen.
    all = all && registered_[index];
    if (!unplugged_[index]) tried.push_back(index);
  }
  return KeepMapped(tried) && all;
}

bool Registration::KeepMapped(const std::vector<uint64_t>& chunks) {
  if (chunks.empty()) return true;
  std::vector<PageRange> unmapped;
  const bool seen = memory_->FindUnmapped(&unmapped) == OsResult::kDone;
  bool all = true;
  for (const uint64_t index : chunks) {
    const PageRange chunk = Chunk(index);
    const bool gone = std::any_of(unmapped.begin(), unmapped.end(), [&](const PageRange& range) {
      return range.first < chunk.end() && chunk.first < range.end();
    });
    if (seen && !gone) continue;
    // None of its pages has been taken, so that all of them are accessible.
    if (registered_[index]) Unregister(chunk);
    registered_[index] = false;
    unplugged_[index] = gone;
    all = false;
  }
  return all;
}

bool Registration::UnregisterAll() {
  for (uint64_t index = 0; index < registered_.size(); ++index) {
    if (!registered_[index]) continue;
    if (!Unregister(Chunk(index))) return false;
    registered_[index] = false;
  }
  return true;
}

}  // namespace ebb
