// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>

#include "hostd/base/unique_fd.h"
#include "hostd/base/units.h"

namespace ebb::synthetic {

// Guest RAM as QEMU's memory-backend-memfd,share=on makes it. Thread-safe.
class GuestRam {
 public:
  explicit GuestRam(uint64_t bytes);

  int memfd() const { return memfd_.get(); }
  uint64_t pages() const { return pages_; }
  std::byte* at(uint64_t page) const { return base_ + PagesToBytes(page); }

  // Gives a page back as QEMU's balloon does (ram_block_discard_range). False if the kernel
  // refuses.
  bool Discard(uint64_t page);

 private:
  UniqueFd memfd_;
  uint64_t pages_;
  std::byte* base_;
};

}  // namespace ebb::synthetic
