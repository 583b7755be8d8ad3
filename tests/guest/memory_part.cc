// SPDX-License-Identifier: MIT
#include "tests/guest/memory_part.h"

#include <sys/mman.h>

namespace ebb::guest {
namespace {

constexpr uint64_t kPagesPerPace = 16;

std::byte* MapMemory(uint64_t bytes) {
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) FailErrno("cannot map the memory to fill");
  return static_cast<std::byte*>(memory);
}

}  // namespace

MemoryPart::MemoryPart(uint64_t seed, uint64_t pages, Progress& progress)
    : seed_(seed), progress_(progress), memory_(MapMemory(PagesToBytes(pages))), versions_(pages) {}

MemoryPart::~MemoryPart() { munmap(memory_, PagesToBytes(versions_.size())); }

PageId MemoryPart::Id(uint64_t page) const {
  return {.seed = seed_, .address = PagesToBytes(page), .version = versions_[page]};
}

void MemoryPart::Fill(Pace& pace) {
  for (uint64_t page = 0; page < versions_.size(); ++page) {
    FillPage(Id(page), At(page));
    progress_.filled_bytes += kPageBytes;
    if (page % kPagesPerPace == 0) pace.Spend(kPagesPerPace);
  }
}

uint64_t MemoryPart::Sweep(uint64_t first, uint64_t end, uint64_t every, uint64_t remainder,
                           Pace& pace) {
  uint64_t rewritten = 0;
  for (uint64_t page = first; page < end; ++page) {
    CheckPage(Id(page), At(page), "memory", progress_);
    if (page % every == remainder) {
      ++versions_[page];
      FillPage(Id(page), At(page));
      ++rewritten;
    }
    if (page % kPagesPerPace == 0) pace.Spend(kPagesPerPace);
  }
  return rewritten;
}

}  // namespace ebb::guest
