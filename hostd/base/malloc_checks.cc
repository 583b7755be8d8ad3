// SPDX-License-Identifier: MIT
// malloc and free of every program that links hostd/base, in builds with -Dwait_checks=true:
// glibc's own, after a look at whether the thread may. They can wait for a lock of the arena, or
// for the kernel to find memory. operator new and delete come here too.
#include <cerrno>
#include <cstddef>
#include <cstdlib>

#include "hostd/base/checked_thread.h"

extern "C" {

void* __libc_malloc(size_t bytes);
void* __libc_calloc(size_t count, size_t bytes);
void* __libc_realloc(void* memory, size_t bytes);
void* __libc_memalign(size_t alignment, size_t bytes);
void __libc_free(void* memory);

void* malloc(size_t bytes) noexcept {
  ebb::CheckMayAllocate("malloc");
  return __libc_malloc(bytes);
}

void* calloc(size_t count, size_t bytes) noexcept {
  ebb::CheckMayAllocate("calloc");
  return __libc_calloc(count, bytes);
}

void* realloc(void* memory, size_t bytes) noexcept {
  ebb::CheckMayAllocate("realloc");
  return __libc_realloc(memory, bytes);
}

void* aligned_alloc(size_t alignment, size_t bytes) noexcept {
  ebb::CheckMayAllocate("aligned_alloc");
  return __libc_memalign(alignment, bytes);
}

int posix_memalign(void** memory, size_t alignment, size_t bytes) noexcept {
  ebb::CheckMayAllocate("posix_memalign");
  *memory = __libc_memalign(alignment, bytes);
  return *memory != nullptr ? 0 : ENOMEM;
}

void free(void* memory) noexcept {
  if (memory != nullptr) ebb::CheckMayAllocate("free");
  __libc_free(memory);
}

}  // extern "C"

namespace ebb {

void LinkMallocChecks() {}

}  // namespace ebb
