// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "hostd/page/swap_desc.h"

namespace ebb {

// A page is stored only if it saves a quarter: what saves less costs its decompression and hardly
// any memory is won.
inline constexpr uint32_t kMaxCompressedBytes = kPageBytes * 3 / 4;

// Compresses single pages with LZ4. Not thread-safe: each thread that compresses has its own.
class PageCompressor {
 public:
  PageCompressor();

  // Compressed length, or 0 where the page does not fit into `out`.
  uint32_t Compress(const std::byte* page, std::span<std::byte> out);

 private:
  struct Free {
    void operator()(void* state) const;
  };
  std::unique_ptr<void, Free> state_;  // LZ4's 16 KiB work area, kept off the stack
};

// Makes a page of what is stored; false unless it is exactly one. Thread-safe; safe on any input.
bool DecodePage(Codec codec, std::span<const std::byte> stored, std::byte* page);

}  // namespace ebb
