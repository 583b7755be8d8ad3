// SPDX-License-Identifier: MIT
#include "hostd/tiers/pool/lz4_codec.h"

#include <lz4.h>

#include <cstdlib>

#include "hostd/base/units.h"

namespace ebb {

void Lz4Compressor::Free::operator()(void* state) const { std::free(state); }

Lz4Compressor::Lz4Compressor() : state_(std::malloc(static_cast<size_t>(LZ4_sizeofState()))) {}

uint32_t Lz4Compressor::Compress(const std::byte* page, std::span<std::byte> out) {
  constexpr int kAcceleration = 1;
  return static_cast<uint32_t>(LZ4_compress_fast_extState(
      state_.get(), reinterpret_cast<const char*>(page), reinterpret_cast<char*>(out.data()),
      static_cast<int>(kPageBytes), static_cast<int>(out.size()), kAcceleration));
}

bool Lz4Decompress(std::span<const std::byte> compressed, std::byte* page) {
  return LZ4_decompress_safe(reinterpret_cast<const char*>(compressed.data()),
                             reinterpret_cast<char*>(page), static_cast<int>(compressed.size()),
                             static_cast<int>(kPageBytes)) == static_cast<int>(kPageBytes);
}

}  // namespace ebb
