// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>

namespace ebb {

// The memory a pool lives in: a large range that takes real memory only where it is allocated.
// The pool uses it from its owner thread only, except that data() never changes.
class PoolMemory {
 public:
  virtual ~PoolMemory() = default;

  virtual std::byte* data() const = 0;
  virtual uint64_t bytes() const = 0;
  // False when the host has no memory for it.
  virtual bool Allocate(uint64_t offset, uint64_t bytes) = 0;
  virtual void Free(uint64_t offset, uint64_t bytes) = 0;
  // How much of it others need more than this pool.
  virtual uint64_t ExcessBytes() const { return 0; }
};

}  // namespace ebb
