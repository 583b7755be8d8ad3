// SPDX-License-Identifier: MIT
// A record's location, whose 8 bytes come from the memory of QEMU's process, and the stored bytes
// it names, which can come from a disk: both can be anything.
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "hostd/base/check.h"
#include "hostd/page/swap_desc.h"
#include "hostd/tiers/page_codec.h"

namespace ebb {
namespace {

void CheckFields(SwapLocation location) {
  EBB_CHECK(location.length_bytes() >= 1 && location.length_bytes() <= kPageBytes, "length");
  EBB_CHECK(location.generation() < 16, "generation");
  EBB_CHECK(location.pool_handle().value >> SwapLocation::kPoolHandleBits == 0, "pool handle");
  const DiskLocation at = location.disk_location();
  EBB_CHECK(at.device < 16, "device");
  EBB_CHECK(at.block >> SwapLocation::kDiskBlockBits == 0, "block");
  EBB_CHECK(at.offset_bytes < kPageBytes && at.offset_bytes % kDiskGrainBytes == 0, "offset");
  // No bit is lost, or two records that differ could look the same.
  const auto same = [&](SwapLocation made) {
    return made.WithGeneration(location.generation()) == location;
  };
  EBB_CHECK(location.tier() != TierKind::kDisk ||
                same(SwapLocation::OnDisk(location.codec(), location.length_bytes(), at)),
            "a place on disk that is not what it was made of");
  EBB_CHECK(location.tier() != TierKind::kPool ||
                same(SwapLocation::InPool(location.codec(), location.length_bytes(),
                                          location.pool_handle())),
            "a place in the pool that is not what it was made of");
}

// A page is made whole or not at all: whatever was in its place before must not show.
void Decode(Codec codec, std::span<const uint8_t> input) {
  // On the heap, so that the sanitizer sees who reads past it.
  const std::vector<std::byte> stored(std::as_bytes(input).begin(), std::as_bytes(input).end());
  std::vector<std::byte> page(kPageBytes, std::byte{0x55});
  std::vector<std::byte> again(kPageBytes, std::byte{0xaa});
  const bool made = DecodePage(codec, stored, page.data());
  EBB_CHECK(DecodePage(codec, stored, again.data()) == made, "another answer the second time");
  EBB_CHECK(!made || page == again, "a part of a page was taken for all of it");
}

void Run(std::span<const uint8_t> input) {
  uint64_t bits;
  std::memcpy(&bits, input.data(), sizeof bits);
  const SwapLocation location(bits);
  CheckFields(location);
  const auto stored = input.subspan(sizeof bits);
  Decode(location.codec(), stored);
  Decode(Codec::kLz4, stored);
  if (location.length_bytes() < stored.size()) {
    Decode(location.codec(), stored.first(location.length_bytes()));
  }
}

}  // namespace
}  // namespace ebb

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t bytes);
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t bytes) {
  if (bytes >= sizeof(uint64_t)) ebb::Run({data, bytes});
  return 0;
}
