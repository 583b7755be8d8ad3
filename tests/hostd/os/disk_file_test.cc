// SPDX-License-Identifier: MIT
#include "hostd/os/disk_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>

#include "tests/hostd/os/loop_device.h"
#include "tests/hostd/os/temporary_folder.h"

namespace ebb {
namespace {

class DiskFileTest : public testing::Test {
 protected:
  static struct stat Stat(const std::string& path) {
    struct stat info = {};
    EXPECT_EQ(stat(path.c_str(), &info), 0) << path;
    return info;
  }
  static bool Exists(const std::string& path) { return std::filesystem::exists(path); }
  static void WriteText(const std::string& path, const std::string& text) {
    std::ofstream(path) << text;
  }
  static DiskFile OpenOk(const std::string& path) {
    auto file = DiskFile::Open(path);
    EXPECT_TRUE(file.ok()) << file.status();
    return *std::move(file);
  }
  // That it is refused, with a message that names the path and says this.
  static void ExpectRefused(const std::string& path, const std::string& words) {
    const auto file = DiskFile::Open(path);
    ASSERT_FALSE(file.ok()) << path;
    const std::string message(file.status().message());
    EXPECT_NE(message.find(path), std::string::npos) << message;
    EXPECT_NE(message.find(words), std::string::npos) << message;
  }
  // For a device.
  std::string ContentFile(uint64_t bytes) {
    WriteText(folder_.File("content"), "");
    std::filesystem::resize_file(folder_.File("content"), bytes);
    return folder_.File("content");
  }

  TemporaryFolder folder_{kFolderOnDisk};
  std::string path_ = folder_.File("disk");
};

TEST_F(DiskFileTest, MakesAnEmptyFileForItsOwnerOnly) {
  const mode_t before = umask(0);
  const DiskFile file = OpenOk(path_);
  umask(before);
  EXPECT_EQ(file.bytes(), 0u);
  EXPECT_FALSE(file.is_device());
  EXPECT_EQ(Stat(path_).st_mode, mode_t{S_IFREG | 0600});
}

TEST_F(DiskFileTest, RemovesWhatItMadeUnlessItIsKept) {
  { const DiskFile file = OpenOk(path_); }
  EXPECT_FALSE(Exists(path_));
  {
    DiskFile file = OpenOk(path_);
    const UniqueFd kept = std::move(file).Keep();
    EXPECT_TRUE(kept.valid());
  }
  EXPECT_TRUE(Exists(path_));
  { const DiskFile file = OpenOk(path_); }
  EXPECT_TRUE(Exists(path_)) << "it was there before";
}

TEST_F(DiskFileTest, NoFolderIsMade) {
  ExpectRefused(folder_.File("no/disk"), "create the folder");
}

TEST_F(DiskFileTest, SymbolicLinksToFilesAreRefused) {
  WriteText(folder_.File("target"), "");
  std::filesystem::create_symlink(folder_.File("target"), path_);
  ExpectRefused(path_, "is a symbolic link");
  std::filesystem::remove(folder_.File("target"));
  ExpectRefused(path_, "symbolic link to nothing");
  EXPECT_FALSE(Exists(folder_.File("target")));
}

TEST_F(DiskFileTest, OtherKindsOfFilesAreRefused) {
  ExpectRefused(folder_.File("."), "is neither a file nor a block device");
  ExpectRefused("/dev/null", "is neither a file nor a block device");
  ASSERT_EQ(mkfifo(path_.c_str(), 0600), 0);
  ExpectRefused(path_, "is neither a file nor a block device");
}

TEST_F(DiskFileTest, SomebodyElsesFileIsRefused) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root, to give a file away";
  WriteText(path_, "");
  ASSERT_EQ(chown(path_.c_str(), 65534, 65534), 0);
  ExpectRefused(path_, "belongs to user 65534");
  EXPECT_TRUE(Exists(path_));
}

TEST_F(DiskFileTest, FilesInMemoryAreRefused) {
  const TemporaryFolder in_memory("/dev/shm");
  ExpectRefused(in_memory.File("disk"), "choose a block device, or a file on ext4 or xfs");
  EXPECT_FALSE(Exists(in_memory.File("disk")));
}

TEST_F(DiskFileTest, OnlyOneCanHaveIt) {
  {
    DiskFile file = OpenOk(path_);
    ExpectRefused(path_, "is in use by another ebbd");
    const UniqueFd kept = std::move(file).Keep();
    ExpectRefused(path_, "is in use by another ebbd");
  }
  EXPECT_TRUE(Exists(path_)) << "who was refused has not removed it";
  OpenOk(path_);
}

TEST_F(DiskFileTest, ReadsAndWritesItsStart) {
  DiskFile file = OpenOk(path_);
  EXPECT_TRUE(file.ReadStart(kMiB)->empty());
  std::array<std::byte, kPageBytes> block;
  block.fill(std::byte{0x5a});
  ASSERT_TRUE(file.WriteStart(block).ok());
  const auto start = file.ReadStart(kMiB);
  ASSERT_TRUE(start.ok()) << start.status();
  EXPECT_TRUE(std::equal(start->begin(), start->end(), block.begin(), block.end()));
  ASSERT_TRUE(file.Reserve(3 * kMiB).ok());
  EXPECT_EQ(file.ReadStart(kPageBytes)->size(), kPageBytes);
  EXPECT_EQ(file.ReadStart(kMiB)->size(), kMiB);
}

TEST_F(DiskFileTest, ReadsFilesOfAnyLength) {
  for (const size_t bytes : {1, 511, 4095, 4097, 70000}) {
    WriteText(path_, std::string(bytes, 'x'));
    const DiskFile file = OpenOk(path_);
    EXPECT_EQ(file.bytes(), bytes);
    const auto start = file.ReadStart(kMiB);
    ASSERT_TRUE(start.ok()) << start.status();
    EXPECT_EQ(*start, std::vector<std::byte>(bytes, std::byte{'x'}));
  }
}

TEST_F(DiskFileTest, ReservesAllOfItsSpace) {
  DiskFile file = OpenOk(path_);
  for (const uint64_t bytes : {32 * kMiB, 64 * kMiB, 17 * kMiB}) {
    ASSERT_TRUE(file.Reserve(bytes).ok());
    EXPECT_EQ(file.bytes(), bytes);
    EXPECT_EQ(Stat(path_).st_size, static_cast<off_t>(bytes));
    EXPECT_GE(Stat(path_).st_blocks * 512, static_cast<off_t>(bytes));
  }
}

TEST_F(DiskFileTest, ReservesWhereAFileHasHoles) {
  WriteText(path_, "");
  std::filesystem::resize_file(path_, 32 * kMiB);
  EXPECT_TRUE(OpenOk(path_).Reserve(32 * kMiB).ok());
  EXPECT_GE(Stat(path_).st_blocks * 512, static_cast<off_t>(32 * kMiB));
}

TEST_F(DiskFileTest, WhatHasNoRoomIsNotTried) {
  DiskFile file = OpenOk(path_);
  ASSERT_TRUE(file.Reserve(kMiB).ok());
  const absl::Status status = file.Reserve(uint64_t{1} << 50);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  EXPECT_NE(status.message().find("make room, or choose a smaller size"), std::string::npos);
  EXPECT_EQ(Stat(path_).st_size, static_cast<off_t>(kMiB));
}

TEST_F(DiskFileTest, BecomesPrivate) {
  WriteText(path_, "");
  ASSERT_EQ(chmod(path_.c_str(), 0666), 0);
  DiskFile file = OpenOk(path_);
  EXPECT_EQ(Stat(path_).st_mode & 0777, 0666u) << "not before it is known to be a tier";
  EXPECT_TRUE(file.MakePrivate().ok());
  EXPECT_EQ(Stat(path_).st_mode & 0777, 0600u);
}

TEST_F(DiskFileTest, DeviceHasItsSizeAndMayBeALink) {
  const LoopDevice device(ContentFile(24 * kMiB));
  if (device.path().empty()) GTEST_SKIP() << device.why();
  std::filesystem::create_symlink(device.path(), path_);
  {
    DiskFile file = OpenOk(path_);
    EXPECT_TRUE(file.is_device());
    EXPECT_EQ(file.bytes(), 24 * kMiB);
    EXPECT_EQ(file.ReadStart(kMiB)->size(), kMiB);
    const std::array<std::byte, kPageBytes> block = {std::byte{7}};
    EXPECT_TRUE(file.WriteStart(block).ok());
    EXPECT_EQ(file.ReadStart(kPageBytes)->front(), std::byte{7});
  }
  EXPECT_TRUE(Exists(path_));
}

TEST_F(DiskFileTest, DeviceInUseIsRefused) {
  const LoopDevice device(ContentFile(24 * kMiB));
  if (device.path().empty()) GTEST_SKIP() << device.why();
  {
    // As a mounted file system holds it.
    const UniqueFd mounted(open(device.path().c_str(), O_RDONLY | O_EXCL | O_CLOEXEC));
    ASSERT_TRUE(mounted.valid());
    ExpectRefused(device.path(), "is mounted, or in use");
  }
  const DiskFile file = OpenOk(device.path());
  ExpectRefused(device.path(), "is mounted, or in use");
}

TEST_F(DiskFileTest, DeviceWithBlocksLargerThanPagesIsRefused) {
  const LoopDevice device(ContentFile(24 * kMiB), 8192);
  if (device.path().empty()) GTEST_SKIP() << device.why();
  ExpectRefused(device.path(), "has logical blocks of 8192 bytes");
}

}  // namespace
}  // namespace ebb
