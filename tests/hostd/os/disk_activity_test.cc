// SPDX-License-Identifier: MIT
// The disks' figures are made up, the files on them are real.
#include "hostd/os/disk_activity.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <filesystem>
#include <fstream>

#include "hostd/base/clock.h"
#include "hostd/base/units.h"
#include "tests/hostd/os/child_process.h"
#include "tests/hostd/os/temporary_folder.h"

namespace ebb {
namespace {

class DiskActivityTest : public testing::Test {
 protected:
  DiskActivityTest() {
    struct stat info {};
    EXPECT_EQ(stat(folder_.File("image").c_str(), &info), 0);
    disk_ = std::to_string(major(info.st_dev)) + ":" + std::to_string(minor(info.st_dev));
    std::filesystem::create_directories(sys() + "/" + disk_);
    SetDisk(/*completed=*/100, /*in_flight=*/0);
  }

  std::string sys() { return folder_.File("sys"); }

  // The disk that the image lies on.
  void SetDisk(uint64_t completed, uint64_t in_flight) {
    std::ofstream(sys() + "/" + disk_ + "/stat") << "7 0 0 0 " << completed << " 0 0 0 0 0 0\n";
    std::ofstream(sys() + "/" + disk_ + "/inflight") << "0 " << in_flight << "\n";
  }

  // Looks, some milliseconds after the last time.
  void Begin() { activity_.Begin(now_ns_ += kLookNs); }
  std::string Waiting(int64_t after_ns = kLookNs) { return activity_.Waiting(now_ns_ += after_ns); }

  static constexpr int64_t kLookNs = 5 * kNsPerMs;
  TemporaryFolder folder_;
  std::string disk_;
  ChildProcess qemu_{[&] { open(folder_.File("image").c_str(), O_CREAT | O_RDWR, 0600); }};
  DiskActivity activity_{qemu_.pid(), sys()};
  int64_t now_ns_ = 1000 * kNsPerS;
};

TEST_F(DiskActivityTest, IdleDiskIsNotWaitedFor) {
  Begin();
  EXPECT_EQ(Waiting(), "");
}

TEST_F(DiskActivityTest, BusyDiskIsWaitedForUntilItCompletesARequest) {
  SetDisk(/*completed=*/100, /*in_flight=*/3);
  Begin();
  EXPECT_EQ(Waiting(), disk_);
  SetDisk(/*completed=*/101, /*in_flight=*/3);
  EXPECT_EQ(Waiting(), "");
}

TEST_F(DiskActivityTest, WhatWasCompletedBeforeProvesNothing) {
  SetDisk(/*completed=*/100, /*in_flight=*/3);
  Begin();
  SetDisk(/*completed=*/101, /*in_flight=*/3);
  Begin();
  EXPECT_EQ(Waiting(), disk_);
}

// Another disk may have been waited for meanwhile.
TEST_F(DiskActivityTest, DiskThatHasWorkedButDoesNoMoreIsWaitedFor) {
  SetDisk(/*completed=*/100, /*in_flight=*/3);
  Begin();
  SetDisk(/*completed=*/101, /*in_flight=*/3);
  EXPECT_EQ(Waiting(), "");
  for (int look = 0; look < 10; ++look) Waiting();
  EXPECT_EQ(Waiting(), disk_);
}

TEST_F(DiskActivityTest, WhatWasCompletedAtSomeTimeInALongPauseProvesNothing) {
  SetDisk(/*completed=*/100, /*in_flight=*/3);
  Begin();
  SetDisk(/*completed=*/101, /*in_flight=*/3);
  EXPECT_EQ(Waiting(/*after_ns=*/kNsPerS), disk_);
  SetDisk(/*completed=*/102, /*in_flight=*/3);
  EXPECT_EQ(Waiting(), "");
}

TEST_F(DiskActivityTest, DiskThatGetsARequestMeanwhileIsWaitedFor) {
  Begin();
  SetDisk(/*completed=*/100, /*in_flight=*/1);
  EXPECT_EQ(Waiting(), disk_);
  SetDisk(/*completed=*/101, /*in_flight=*/0);
  EXPECT_EQ(Waiting(), "");
}

TEST_F(DiskActivityTest, DiscardsAndFlushesCountAsWork) {
  for (const char* done :
       {"7 0 0 0 100 0 0 0 0 0 0 1 0 0 0 0 0", "7 0 0 0 100 0 0 0 0 0 0 0 0 0 0 1 0"}) {
    SetDisk(/*completed=*/100, /*in_flight=*/1);
    Begin();
    EXPECT_EQ(Waiting(), disk_);
    std::ofstream(sys() + "/" + disk_ + "/stat") << done << "\n";
    EXPECT_EQ(Waiting(), "") << done;
  }
}

TEST_F(DiskActivityTest, ProcessWithoutDisksWaitsForNone) {
  const ChildProcess child([] {});
  DiskActivity activity(child.pid(), sys());
  SetDisk(/*completed=*/100, /*in_flight=*/3);
  activity.Begin(now_ns_);
  EXPECT_EQ(activity.Waiting(now_ns_ + kLookNs), "");
}

TEST_F(DiskActivityTest, ProcessThatIsGoneWaitsForNone) {
  SetDisk(/*completed=*/100, /*in_flight=*/3);
  qemu_.Kill();
  Begin();
  EXPECT_EQ(Waiting(), "");
}

// This machine's own: an idle disk, or a busy one that completes requests.
TEST_F(DiskActivityTest, RealDiskIsSoonDone) {
  DiskActivity activity(qemu_.pid());
  activity.Begin(MonotonicNs());
  while (!activity.Waiting(MonotonicNs()).empty()) {
  }  // meson's deadline
}

}  // namespace
}  // namespace ebb
