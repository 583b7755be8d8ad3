// SPDX-License-Identifier: MIT
#include "hostd/tiers/disk/open_tier_disk.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/stat.h>
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "hostd/base/units.h"
#include "hostd/tiers/disk/disk_header.h"
#include "tests/hostd/os/loop_device.h"
#include "tests/hostd/os/temporary_folder.h"

namespace ebb {
namespace {

using TierDisk = absl::StatusOr<std::unique_ptr<Disk>>;

class OpenTierDiskTest : public testing::Test {
 protected:
  static constexpr uint64_t kBytes = 20 * kMiB;

  static std::vector<std::byte> Content(const std::string& path, uint64_t bytes) {
    std::string text(bytes, '\0');
    std::ifstream file(path);
    file.read(text.data(), static_cast<std::streamsize>(bytes));
    text.resize(static_cast<size_t>(file.gcount()));
    std::vector<std::byte> content(text.size());
    std::memcpy(content.data(), text.data(), text.size());
    return content;
  }
  static void WriteContent(const std::string& path, const std::vector<std::byte>& content) {
    std::ofstream(path).write(reinterpret_cast<const char*>(content.data()),
                              static_cast<std::streamsize>(content.size()));
  }
  static DiskStart Start(const std::string& path) { return DiskStart::Of(Content(path, kMiB)); }

  static uint64_t SizeWhenOpened(const std::string& path, std::optional<uint64_t> bytes) {
    const TierDisk disk = OpenTierDisk(path, bytes);
    EXPECT_TRUE(disk.ok()) << disk.status();
    return disk.ok() ? (*disk)->bytes() : 0;
  }
  // That it is refused, with a message that names the path and says this.
  static void ExpectRefused(const std::string& path, std::optional<uint64_t> bytes,
                            const std::string& words) {
    const TierDisk disk = OpenTierDisk(path, bytes);
    ASSERT_FALSE(disk.ok()) << path;
    const std::string message(disk.status().message());
    EXPECT_NE(message.find(path), std::string::npos) << message;
    EXPECT_NE(message.find(words), std::string::npos) << message;
  }
  void ExpectNoFile() { EXPECT_FALSE(std::filesystem::exists(path_)); }
  std::string ContentFile(uint64_t bytes) {
    const std::string content = folder_.File("content");
    WriteContent(content, {});
    std::filesystem::resize_file(content, bytes);
    return content;
  }
  // A tier that an ebbd has left: its first segment, with this changed.
  std::vector<std::byte> LeftWith(size_t at, std::byte change) {
    EXPECT_EQ(SizeWhenOpened(path_, kBytes), kBytes);
    auto start = Content(path_, kBytes);
    start[at] ^= change;
    return start;
  }

  TemporaryFolder folder_{kFolderOnDisk};
  std::string path_ = folder_.File("disk");
};

bool ReadsAndWrites(Disk& disk, uint64_t offset) {
  const auto queue = disk.OpenQueue(1, kPageBytes);
  std::array<DiskQueue::Ended, 1> ended;
  if (!queue.ok() || !(*queue)->StartWrite(0, offset, kPageBytes)) return false;
  pollfd readable = {(*queue)->fd(), POLLIN, 0};
  if (poll(&readable, 1, 20000) != 1 || (*queue)->Reap(ended) != 1 || !ended[0].ok) return false;
  if (!(*queue)->StartRead(0, offset, kPageBytes)) return false;
  return poll(&readable, 1, 20000) == 1 && (*queue)->Reap(ended) == 1 && ended[0].ok;
}

// ---- A file that is not there -------------------------------------------------------------------

TEST_F(OpenTierDiskTest, MakesAFileWithAHeaderAndAllOfItsSpace) {
  const TierDisk disk = OpenTierDisk(path_, kBytes);
  ASSERT_TRUE(disk.ok()) << disk.status();
  EXPECT_EQ((*disk)->bytes(), kBytes);
  struct stat info = {};
  ASSERT_EQ(stat(path_.c_str(), &info), 0);
  EXPECT_EQ(info.st_size, static_cast<off_t>(kBytes));
  EXPECT_GE(info.st_blocks * 512, static_cast<off_t>(kBytes));
  EXPECT_EQ(info.st_mode, mode_t{S_IFREG | 0600});
  const DiskStart start = Start(path_);
  EXPECT_EQ(start.kind, DiskStart::Kind::kOurs);
  EXPECT_EQ(start.header.disk_bytes, kBytes);
  EXPECT_EQ(start.header.boot, *BootId());
  EXPECT_TRUE(ReadsAndWrites(**disk, kMiB));
  EXPECT_TRUE(ReadsAndWrites(**disk, kBytes - kPageBytes));
}

TEST_F(OpenTierDiskTest, NewFileNeedsASize) {
  ExpectRefused(path_, std::nullopt, "say how large it is to be, as in " + path_ + ":16G");
  ExpectNoFile();
}

TEST_F(OpenTierDiskTest, TooSmallIsRefused) {
  ExpectRefused(path_, kLeastDiskBytes - 1, "is too small: give it at least 16.0 MiB");
  ExpectNoFile();
  EXPECT_EQ(SizeWhenOpened(path_, kLeastDiskBytes + 1), kLeastDiskBytes) << "whole blocks";
}

TEST_F(OpenTierDiskTest, WithoutRoomNoFileIsLeft) {
  ExpectRefused(path_, uint64_t{1} << 50, "make room, or choose a smaller size");
  ExpectNoFile();
}

// ---- A file that is there -----------------------------------------------------------------------

TEST_F(OpenTierDiskTest, EmptyFileBecomesATier) {
  WriteContent(path_, {});
  ASSERT_EQ(chmod(path_.c_str(), 0644), 0);
  EXPECT_EQ(SizeWhenOpened(path_, kBytes), kBytes);
  struct stat info = {};
  ASSERT_EQ(stat(path_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode, mode_t{S_IFREG | 0600});
}

TEST_F(OpenTierDiskTest, AnythingElseIsRefusedAndStays) {
  std::vector<std::byte> text(1000, std::byte{'x'});
  std::vector<std::byte> zeros(kBytes);  // the disk of a VM
  std::vector<std::byte> superblock(kBytes);
  superblock[65600] = std::byte{1};
  for (const auto& content : {text, zeros, superblock}) {
    WriteContent(path_, content);
    ASSERT_EQ(chmod(path_.c_str(), 0644), 0);
    ExpectRefused(path_, kBytes, "holds something else");
    EXPECT_EQ(Content(path_, 2 * kBytes), content);
    EXPECT_EQ(std::filesystem::status(path_).permissions(), std::filesystem::perms(0644));
  }
}

TEST_F(OpenTierDiskTest, KeepsOrTakesTheSizeThatIsSaid) {
  EXPECT_EQ(SizeWhenOpened(path_, kBytes), kBytes);
  EXPECT_EQ(SizeWhenOpened(path_, std::nullopt), kBytes);
  for (const uint64_t bytes : {kBytes + 4 * kMiB, kBytes - 4 * kMiB}) {
    EXPECT_EQ(SizeWhenOpened(path_, bytes), bytes);
    EXPECT_EQ(std::filesystem::file_size(path_), bytes);
    EXPECT_EQ(Start(path_).header.disk_bytes, bytes);
  }
}

TEST_F(OpenTierDiskTest, EachStartIsAnotherInstance) {
  EXPECT_EQ(SizeWhenOpened(path_, kBytes), kBytes);
  const DiskHeader first = Start(path_).header;
  EXPECT_EQ(SizeWhenOpened(path_, kBytes), kBytes);
  EXPECT_NE(Start(path_).header.instance, first.instance);
  EXPECT_EQ(Start(path_).header.boot, first.boot);
}

TEST_F(OpenTierDiskTest, WhatAnEarlierBootLeftIsDiscarded) {
  std::array<std::byte, kDiskBlockBytes> block;
  WriteDiskHeader({Id128{std::byte{1}}, Id128{std::byte{2}}, kBytes}, block);
  WriteContent(path_, {block.begin(), block.end()});
  testing::internal::CaptureStderr();
  EXPECT_EQ(SizeWhenOpened(path_, kBytes), kBytes);
  EXPECT_NE(testing::internal::GetCapturedStderr().find("left before this host booted"),
            std::string::npos);
  EXPECT_EQ(Start(path_).header.boot, *BootId());
}

TEST_F(OpenTierDiskTest, DamagedHeaderIsWrittenAnew) {
  WriteContent(path_, LeftWith(20, std::byte{1}));
  ASSERT_EQ(Start(path_).kind, DiskStart::Kind::kDamaged);
  EXPECT_EQ(SizeWhenOpened(path_, std::nullopt), kBytes);
  EXPECT_EQ(Start(path_).kind, DiskStart::Kind::kOurs);
}

TEST_F(OpenTierDiskTest, TierOfANewerEbbIsRefusedAndStays) {
  std::array<std::byte, kDiskBlockBytes> block;
  WriteDiskHeader({}, block);
  block[8] = std::byte{2};
  const uint64_t checksum = XXH3_64bits(block.data(), 4088);
  std::memcpy(block.data() + 4088, &checksum, sizeof checksum);
  const std::vector<std::byte> content(block.begin(), block.end());
  WriteContent(path_, content);
  ExpectRefused(path_, kBytes, "of a newer Ebb");
  EXPECT_EQ(Content(path_, kBytes), content);
}

TEST_F(OpenTierDiskTest, HeaderWithSomethingBehindItIsRefused) {
  const auto content = LeftWith(kDiskBlockBytes, std::byte{1});
  WriteContent(path_, content);
  ExpectRefused(path_, kBytes, "holds something else");
  EXPECT_EQ(Content(path_, kBytes), content);
}

TEST_F(OpenTierDiskTest, SecondEbbdIsRefused) {
  const TierDisk first = OpenTierDisk(path_, kBytes);
  ASSERT_TRUE(first.ok()) << first.status();
  const DiskHeader header = Start(path_).header;
  ExpectRefused(path_, kBytes, "is in use by another ebbd");
  EXPECT_EQ(Start(path_).header, header);
}

TEST_F(OpenTierDiskTest, QueueKeepsItFromOthers) {
  TierDisk disk = OpenTierDisk(path_, kBytes);
  ASSERT_TRUE(disk.ok()) << disk.status();
  {
    const auto queue = (*disk)->OpenQueue(1, kPageBytes);
    ASSERT_TRUE(queue.ok()) << queue.status();
    disk->reset();
    ExpectRefused(path_, kBytes, "is in use by another ebbd");
  }
  EXPECT_EQ(SizeWhenOpened(path_, kBytes), kBytes);
}

// ---- A block device -----------------------------------------------------------------------------

TEST_F(OpenTierDiskTest, DeviceIsUsedAsFarAsIsSaid) {
  const LoopDevice device(ContentFile(kBytes));
  if (device.path().empty()) GTEST_SKIP() << device.why();
  EXPECT_EQ(SizeWhenOpened(device.path(), std::nullopt), kBytes);
  EXPECT_EQ(SizeWhenOpened(device.path(), 16 * kMiB), 16 * kMiB);
  EXPECT_EQ(Start(device.path()).header.disk_bytes, 16 * kMiB);
  ExpectRefused(device.path(), kBytes + kMiB, "which is less than 21.0 MiB");
  ExpectRefused(device.path(), kMiB, "is too small");
  const TierDisk disk = OpenTierDisk(device.path(), std::nullopt);
  ASSERT_TRUE(disk.ok()) << disk.status();
  EXPECT_TRUE(ReadsAndWrites(**disk, kBytes - kPageBytes));
  ExpectRefused(device.path(), std::nullopt, "is mounted, or in use");
}

TEST_F(OpenTierDiskTest, SmallDeviceIsRefused) {
  const LoopDevice device(ContentFile(kLeastDiskBytes / 2));
  if (device.path().empty()) GTEST_SKIP() << device.why();
  ExpectRefused(device.path(), std::nullopt, "is too small");
}

TEST_F(OpenTierDiskTest, DeviceWithSomethingElseIsRefusedAndStays) {
  std::vector<std::byte> content(kBytes);
  content[65600] = std::byte{1};  // where btrfs begins
  const std::string file = ContentFile(0);
  WriteContent(file, content);
  const LoopDevice device(file);
  if (device.path().empty()) GTEST_SKIP() << device.why();
  ExpectRefused(device.path(), std::nullopt,
                "wipefs -a " + device.path() + " && blkdiscard -z -l 1M " + device.path());
  EXPECT_EQ(Content(file, kBytes), content);
}

}  // namespace
}  // namespace ebb
