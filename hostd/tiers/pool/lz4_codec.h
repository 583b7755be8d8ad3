// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace ebb {

// LZ4 for single pages. Not thread-safe: each thread that compresses has its own.
class Lz4Compressor {
 public:
  Lz4Compressor();

  // Compressed length, or 0 where the page does not fit into `out`.
  uint32_t Compress(const std::byte* page, std::span<std::byte> out);

 private:
  struct Free {
    void operator()(void* state) const;
  };
  std::unique_ptr<void, Free> state_;  // LZ4's 16 KiB work area, kept off the stack
};

// False unless `compressed` is exactly one page. Thread-safe; safe on arbitrary input.
bool Lz4Decompress(std::span<const std::byte> compressed, std::byte* page);

}  // namespace ebb
