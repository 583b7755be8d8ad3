// SPDX-License-Identifier: MIT
#include "hostd/vm/ram_change.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "hostd/wire/handover.h"

namespace ebb {
namespace {

constexpr FileId kRam = {1, 10};
constexpr FileId kDimm = {1, 11};
constexpr FileId kHugeDimm = {2, 11};
constexpr uint64_t kMibPages = BytesToPages(kMiB);

Vma RamAt(uint64_t mib, uint64_t mibs, const FileId& file, uint64_t file_mib = 0) {
  Vma vma;
  vma.start = {mib * kMiB};
  vma.end = {(mib + mibs) * kMiB};
  vma.file_offset = file_mib * kMiB;
  vma.file = file;
  vma.shared = vma.writable = vma.is_ram = true;
  return vma;
}

VmRam Ram(const std::vector<Vma>& map) { return RamIn(map); }

TEST(RamIn, FindsWhatTheLibraryWould) {
  Vma heap = RamAt(1, 1, {});
  heap.is_ram = false;
  Vma read_only = RamAt(2, 1, kRam);
  read_only.writable = false;
  Vma copied = RamAt(3, 1, kRam);
  copied.shared = false;
  const VmRam ram = RamIn({heap, read_only, copied, RamAt(16, 8, kDimm), RamAt(32, 64, kRam)});
  EXPECT_EQ(ram.files, (std::vector<FileId>{kDimm, kRam}));
  ASSERT_EQ(ram.layout.mappings().size(), 2u);
  EXPECT_EQ(ram.layout.mappings()[1].hva, Hva{32 * kMiB});
  EXPECT_EQ(ram.layout.mappings()[1].memfd, 1u);
  EXPECT_EQ(ram.layout.pages(), 72 * kMibPages);
}

// Registration splits a mapping, and a memfd may be mapped in several parts.
TEST(RamIn, PartsThatFollowEachOtherAreOne) {
  const VmRam ram = RamIn(
      {RamAt(16, 4, kRam), RamAt(20, 4, kRam, 4), RamAt(24, 4, kRam, 12), RamAt(28, 4, kDimm, 4)});
  ASSERT_EQ(ram.layout.mappings().size(), 3u);
  EXPECT_EQ(ram.layout.mappings()[0].pages, 8 * kMibPages);
}

TEST(ChangeOf, TellsWhatWasPluggedAndUnplugged) {
  const VmRam one = Ram({RamAt(32, 64, kRam)});
  const VmRam both = Ram({RamAt(16, 8, kDimm), RamAt(32, 64, kRam)});
  EXPECT_FALSE(ChangeOf(both, both).any());
  EXPECT_FALSE(ChangeOf(one, Ram({RamAt(32, 32, kRam), RamAt(64, 32, kRam, 32)})).any());
  EXPECT_EQ(ChangeOf(one, both).Text(), "8 MiB of memory were plugged into it");
  EXPECT_EQ(ChangeOf(both, one).Text(), "8 MiB of memory were unplugged from it");
  EXPECT_TRUE(ChangeOf(both, one).any());
  const VmRam other = Ram({RamAt(16, 4, {1, 12}), RamAt(32, 64, kRam)});
  EXPECT_EQ(ChangeOf(both, other).Text(),
            "4 MiB of memory were plugged into it and 8 MiB of memory were unplugged from it");
}

TEST(IsBeingUnplugged, WhatQemuHasUnmappedAndNotClosed) {
  const VmRam ram = Ram({RamAt(16, 8, kDimm), RamAt(32, 64, kRam)});
  FileUsers users;
  users.mappers = {{4711, kRam}, {4711, kDimm}};
  users.holders = {{4711, kRam}, {4711, kDimm}, {getpid(), kRam}, {getpid(), kDimm}};
  EXPECT_FALSE(IsBeingUnplugged(ram, 4711, users));
  users.mappers.pop_back();
  EXPECT_TRUE(IsBeingUnplugged(ram, 4711, users));
  users.holders.push_back({4712, kDimm});
  EXPECT_FALSE(IsBeingUnplugged(ram, 4711, users)) << "somebody else has it";
}

TEST(UnpluggedMemfds, AreThoseNobodyButEbbdHas) {
  const VmRam ram = Ram({RamAt(16, 8, kDimm), RamAt(32, 64, kRam)});
  FileUsers users;
  users.mappers = {{4711, kRam}};
  users.holders = {{4711, kRam}, {getpid(), kRam}, {getpid(), kDimm}};
  EXPECT_EQ(UnpluggedMemfds(ram, users), std::vector<size_t>{0});
  users.mappers.push_back({4711, kDimm});
  EXPECT_TRUE(UnpluggedMemfds(ram, users).empty());
  users.mappers.pop_back();
  users.holders.push_back({4712, kDimm});
  EXPECT_TRUE(UnpluggedMemfds(ram, users).empty()) << "whoever has it open can map it";
}

// Of a process that has exited, or whose main thread has, nothing is seen.
TEST(UnpluggedMemfds, AreNeverAll) {
  const VmRam ram = Ram({RamAt(16, 8, kDimm), RamAt(32, 64, kRam)});
  EXPECT_TRUE(UnpluggedMemfds(ram, {}).empty());
  EXPECT_TRUE(UnpluggedMemfds(Ram({}), {}).empty());
}

TEST(WithoutMemfds, LeavesTheOthersAsTheyAre) {
  const VmRam ram = Ram({RamAt(16, 8, kDimm), RamAt(32, 64, kRam)});
  const VmRam rest = WithoutMemfds(ram, {0});
  ASSERT_EQ(rest.layout.mappings().size(), 1u);
  EXPECT_EQ(rest.files[rest.layout.mappings()[0].memfd], kRam);
  EXPECT_EQ(WithoutMemfds(ram, {}).layout.pages(), ram.layout.pages());
}

class CheckCanReturnTest : public testing::Test {
 protected:
  void ExpectRefused(const std::vector<Vma>& map, const std::string& why) {
    const absl::Status status = CheckCanReturn(getpid(), Ram({RamAt(32, 64, kRam)}), Ram(map));
    EXPECT_NE(status.message().find(why), std::string::npos) << status;
  }
};

TEST_F(CheckCanReturnTest, HugePagesAreRefused) {
  ExpectRefused({RamAt(16, 8, kHugeDimm), RamAt(32, 64, kRam)}, "huge pages");
}

TEST_F(CheckCanReturnTest, MorePartsThanAHelloHasAreRefused) {
  std::vector<Vma> map;
  for (uint64_t i = 0; i <= wire::kMaxRamBlocks; ++i) map.push_back(RamAt(16 + 4 * i, 1, kRam));
  ExpectRefused(map, "17 parts");
}

TEST_F(CheckCanReturnTest, NoRamIsRefused) { ExpectRefused({}, "no memory left"); }

TEST_F(CheckCanReturnTest, WhatCouldNotBeAttachedIsRefused) {
  ExpectRefused({RamAt(16, 8, kDimm), RamAt(32, 64, kRam)}, "does not map guest RAM");
}

}  // namespace
}  // namespace ebb
