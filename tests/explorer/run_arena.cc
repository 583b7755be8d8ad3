// SPDX-License-Identifier: MIT
#include "tests/explorer/run_arena.h"

#include <cstddef>
#include <cstdlib>
#include <new>

#include "absl/base/config.h"
#include "hostd/base/check.h"

#if !defined(ABSL_HAVE_ADDRESS_SANITIZER) && !defined(ABSL_HAVE_THREAD_SANITIZER)

namespace {

constexpr size_t kArenaBytes = size_t{16} << 20;
alignas(64) std::byte arena[kArenaBytes];
size_t arena_used = 0;
bool arena_open = false;

bool InArena(const void* at) { return at >= arena && at < arena + kArenaBytes; }

void* Allocate(size_t bytes) {
  if (!arena_open) {
    void* memory = std::malloc(bytes);
    EBB_CHECK(memory != nullptr, "out of memory");
    return memory;
  }
  constexpr size_t kAlign = alignof(std::max_align_t);
  void* memory = arena + arena_used;
  arena_used += (bytes + kAlign - 1) / kAlign * kAlign;
  EBB_CHECK(arena_used <= kArenaBytes, "a run needs more memory than its arena has");
  return memory;
}

void Release(void* at) {
  if (!InArena(at)) std::free(at);
}

}  // namespace

void* operator new(size_t bytes) { return Allocate(bytes); }
void operator delete(void* at) noexcept { Release(at); }
void operator delete(void* at, size_t) noexcept { Release(at); }

namespace ebb::explorer {

RunArena::RunArena() {
  arena_used = 0;
  arena_open = true;
}
RunArena::~RunArena() { arena_open = false; }
OutsideArena::OutsideArena() : was_open_(arena_open) { arena_open = false; }
OutsideArena::~OutsideArena() { arena_open = was_open_; }

}  // namespace ebb::explorer

#else

#if defined(ABSL_HAVE_ADDRESS_SANITIZER)
// A run that is given up leaves behind what its fibers hold.
extern "C" const char* __asan_default_options();
extern "C" const char* __asan_default_options() { return "detect_leaks=0"; }
#endif

namespace ebb::explorer {

RunArena::RunArena() = default;
RunArena::~RunArena() = default;
OutsideArena::OutsideArena() : was_open_(false) {}
OutsideArena::~OutsideArena() { static_cast<void>(was_open_); }

}  // namespace ebb::explorer

#endif
