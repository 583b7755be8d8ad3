// SPDX-License-Identifier: MIT
// A disk that stalls cannot be had here; that one is not seen where there is none can be tested.
#include "hostd/os/disk_activity.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "hostd/base/units.h"
#include "tests/hostd/os/child_process.h"
#include "tests/hostd/os/temporary_folder.h"

namespace ebb {
namespace {

TEST(DiskActivity, ProcessWithoutDisksNeverStalls) {
  const ChildProcess child([] {});
  DiskActivity activity(child.pid());
  for (int64_t second = 1; second < 5; ++second) {
    activity.Sample(second * kNsPerS);
    EXPECT_EQ(activity.StalledFor(kNsPerS, second * kNsPerS), "");
  }
}

TEST(DiskActivity, ProcessThatIsGoneNeverStalls) {
  ChildProcess child([] {});
  DiskActivity activity(child.pid());
  activity.Sample(kNsPerS);
  child.Kill();
  activity.Sample(2 * kNsPerS);
  EXPECT_EQ(activity.StalledFor(0, 100 * kNsPerS), "");
}

// On an idle disk, or a busy one that completes requests, a look right after the sample that saw it
// move finds nothing stalled.
TEST(DiskActivity, DiskIsNotStalledTheMomentItIsFirstSeen) {
  const TemporaryFolder folder;
  const ChildProcess child([&] { open(folder.File("image").c_str(), O_CREAT | O_RDWR, 0600); });
  DiskActivity activity(child.pid());
  activity.Sample(kNsPerS);
  EXPECT_EQ(activity.StalledFor(kNsPerS, kNsPerS), "");
}

}  // namespace
}  // namespace ebb
