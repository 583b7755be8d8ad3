// SPDX-License-Identifier: MIT
#include "hostd/tiers/page_codec.h"

#include <lz4.h>

#include <cstdlib>
#include <cstring>

#include "hostd/base/units.h"

namespace ebb {

void PageCompressor::Free::operator()(void* state) const { std::free(state); }

PageCompressor::PageCompressor() : state_(std::malloc(static_cast<size_t>(LZ4_sizeofState()))) {}

uint32_t PageCompressor::Compress(const std::byte* page, std::span<std::byte> out) {
  constexpr int kAcceleration = 1;
  return static_cast<uint32_t>(LZ4_compress_fast_extState(
      state_.get(), reinterpret_cast<const char*>(page), reinterpret_cast<char*>(out.data()),
      static_cast<int>(kPageBytes), static_cast<int>(out.size()), kAcceleration));
}

bool DecodePage(Codec codec, std::span<const std::byte> stored, std::byte* page) {
  constexpr int kPage = static_cast<int>(kPageBytes);
  switch (codec) {
    case Codec::kRaw:
      if (stored.size() != kPageBytes) return false;
      std::memcpy(page, stored.data(), kPageBytes);
      return true;
    case Codec::kLz4:
      return LZ4_decompress_safe(reinterpret_cast<const char*>(stored.data()),
                                 reinterpret_cast<char*>(page), static_cast<int>(stored.size()),
                                 kPage) == kPage;
  }
  return false;
}

}  // namespace ebb
