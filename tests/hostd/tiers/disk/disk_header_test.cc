// SPDX-License-Identifier: MIT
#include "hostd/tiers/disk/disk_header.h"

#include <gtest/gtest.h>
#include <xxhash.h>

#include <array>
#include <cstring>
#include <string>
#include <vector>

namespace ebb {
namespace {

using Kind = DiskStart::Kind;

Id128 IdOf(int byte) {
  Id128 id;
  id.fill(std::byte(byte));
  return id;
}

const DiskHeader kHeader{IdOf(0x11), IdOf(0x22), uint64_t{77} << 20};

// A header, and zeros up to the second segment.
std::vector<std::byte> StartWithHeader() {
  std::vector<std::byte> start(1 << 20);
  WriteDiskHeader(kHeader, DiskBlock(start.data(), kDiskBlockBytes));
  return start;
}

void Seal(std::vector<std::byte>& start) {
  const uint64_t checksum = XXH3_64bits(start.data(), 4088);
  std::memcpy(start.data() + 4088, &checksum, 8);
}

TEST(DiskHeader, IsReadBack) {
  const DiskStart found = DiskStart::Of(StartWithHeader());
  EXPECT_EQ(found.kind, Kind::kOurs);
  EXPECT_EQ(found.header, kHeader);
}

// docs/formats/disk_header.md
TEST(DiskHeader, LiesAsTheFormatSays) {
  const auto start = StartWithHeader();
  const char* bytes = reinterpret_cast<const char*>(start.data());
  EXPECT_EQ(std::string(bytes, 8), "EBB-DISK");
  EXPECT_EQ(std::string(bytes + 8, 8), std::string("\1\0\0\0\0\0\0\0", 8));
  EXPECT_EQ(std::string(bytes + 16, 16), std::string(16, '\x11'));
  EXPECT_EQ(std::string(bytes + 32, 16), std::string(16, '\x22'));
  EXPECT_EQ(std::string(bytes + 48, 8), std::string("\0\0\xd0\x04\0\0\0\0", 8));
  auto again = start;
  Seal(again);
  EXPECT_EQ(start, again);
}

TEST(DiskHeader, WritesTheWholeBlock) {
  std::array<std::byte, kDiskBlockBytes> block;
  block.fill(std::byte{0xff});
  WriteDiskHeader(kHeader, block);
  EXPECT_EQ(DiskStart::Of(block).kind, Kind::kOurs);
  EXPECT_EQ(block[100], std::byte{0});
}

TEST(DiskHeader, ZerosAreNothing) {
  EXPECT_EQ(DiskStart::Of({}).kind, Kind::kNothing);
  EXPECT_EQ(DiskStart::Of(std::vector<std::byte>(100)).kind, Kind::kNothing);
  EXPECT_EQ(DiskStart::Of(std::vector<std::byte>(1 << 20)).kind, Kind::kNothing);
}

TEST(DiskHeader, OtherBytesAreForeign) {
  for (const size_t at : {0, 511, 1024, 4095, 4096, 65536, (1 << 20) - 1}) {
    std::vector<std::byte> start(1 << 20);
    start[at] = std::byte{1};
    EXPECT_EQ(DiskStart::Of(start).kind, Kind::kForeign) << at;
  }
  EXPECT_EQ(DiskStart::Of(std::vector<std::byte>(4000, std::byte{1})).kind, Kind::kForeign);
}

// A file system that was made there later may leave the first block as it was.
TEST(DiskHeader, WhatLiesBehindIsForeign) {
  auto start = StartWithHeader();
  start[65536 + 64] = std::byte{1};
  EXPECT_EQ(DiskStart::Of(start).kind, Kind::kForeign);
}

TEST(DiskHeader, AnyDamageShows) {
  for (const size_t at : {8, 12, 16, 47, 48, 60, 4087, 4088, 4095}) {
    auto start = StartWithHeader();
    start[at] ^= std::byte{0x10};
    EXPECT_EQ(DiskStart::Of(start).kind, Kind::kDamaged) << at;
  }
  auto start = StartWithHeader();
  start[0] ^= std::byte{0x10};
  EXPECT_EQ(DiskStart::Of(start).kind, Kind::kForeign);
}

TEST(DiskHeader, CutOffHeaderIsForeign) {
  auto start = StartWithHeader();
  start.resize(kDiskBlockBytes - 1);
  EXPECT_EQ(DiskStart::Of(start).kind, Kind::kForeign);
  start.resize(8);
  EXPECT_EQ(DiskStart::Of(start).kind, Kind::kForeign);
}

TEST(DiskHeader, LaterVersionIsNewer) {
  auto start = StartWithHeader();
  start[8] = std::byte{2};
  start[100] = std::byte{3};
  Seal(start);
  EXPECT_EQ(DiskStart::Of(start).kind, Kind::kNewer);
}

}  // namespace
}  // namespace ebb
