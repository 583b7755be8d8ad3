// SPDX-License-Identifier: MIT
#include "hostd/tiers/disk/disk_header.h"

#include <xxhash.h>

#include <algorithm>
#include <bit>
#include <cstring>

namespace ebb {
namespace {

constexpr char kMagic[8] = {'E', 'B', 'B', '-', 'D', 'I', 'S', 'K'};
constexpr uint32_t kVersion = 1;

// Magic, version and checksum lie where they lie in all versions.
struct HeaderLayout {
  char magic[sizeof kMagic];
  uint32_t version;
  uint32_t zero;
  Id128 instance;
  Id128 boot;
  uint64_t disk_bytes;
  std::byte zeros[kDiskBlockBytes - 64];
  uint64_t checksum;  // of all before it
};
static_assert(sizeof(HeaderLayout) == kDiskBlockBytes);
static_assert(std::endian::native == std::endian::little);

uint64_t HeaderChecksum(const std::byte* block) {
  return XXH3_64bits(block, offsetof(HeaderLayout, checksum));
}

bool AllZero(std::span<const std::byte> bytes) {
  return std::all_of(bytes.begin(), bytes.end(),
                     [](std::byte byte) { return byte == std::byte{}; });
}

}  // namespace

void WriteDiskHeader(const DiskHeader& header, DiskBlock block) {
  HeaderLayout layout = {};
  std::copy_n(kMagic, sizeof kMagic, layout.magic);
  layout.version = kVersion;
  layout.instance = header.instance;
  layout.boot = header.boot;
  layout.disk_bytes = header.disk_bytes;
  std::memcpy(block.data(), &layout, sizeof layout);
  layout.checksum = HeaderChecksum(block.data());
  std::memcpy(block.data(), &layout, sizeof layout);
}

DiskStart DiskStart::Of(std::span<const std::byte> start) {
  if (AllZero(start)) return {Kind::kNothing, {}};
  if (start.size() < kDiskBlockBytes || !AllZero(start.subspan(kDiskBlockBytes))) {
    return {Kind::kForeign, {}};
  }
  HeaderLayout layout;
  std::memcpy(&layout, start.data(), sizeof layout);
  if (!std::equal(kMagic, kMagic + sizeof kMagic, layout.magic)) return {Kind::kForeign, {}};
  if (layout.checksum != HeaderChecksum(start.data())) return {Kind::kDamaged, {}};
  if (layout.version > kVersion) return {Kind::kNewer, {}};
  return {Kind::kOurs, {layout.instance, layout.boot, layout.disk_bytes}};
}

}  // namespace ebb
