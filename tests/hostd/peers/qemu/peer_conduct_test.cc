// SPDX-License-Identifier: MIT
#include "hostd/peers/qemu/peer_conduct.h"

#include <gtest/gtest.h>

#include <string>

#include "hostd/base/units.h"

namespace ebb {
namespace {

constexpr int64_t kStartNs = 1000 * kNsPerS;

TEST(PeerConduct, RefusalNamesVmProcessAndReason) {
  PeerConduct conduct;
  EXPECT_EQ(conduct.Refused(7, "vm1", "it burns", kStartNs),
            "vm vm1 (process 7): not attached: it burns");
  EXPECT_EQ(conduct.Refused(8, "", "it burns", kStartNs),
            "vm without a name (process 8): not attached: it burns");
}

TEST(PeerConduct, SameReasonIsSaidOnceUntilAnotherOrAnAttach) {
  PeerConduct conduct;
  EXPECT_TRUE(conduct.Refused(7, "vm1", "it burns", kStartNs));
  EXPECT_FALSE(conduct.Refused(7, "vm1", "it burns", kStartNs + 300 * kNsPerS));
  EXPECT_TRUE(conduct.Refused(7, "vm1", "it smokes", kStartNs + 300 * kNsPerS));
  EXPECT_TRUE(conduct.Refused(7, "vm1", "it burns", kStartNs + 300 * kNsPerS));
  conduct.Attached(7);
  EXPECT_TRUE(conduct.Refused(7, "vm1", "it burns", kStartNs + 300 * kNsPerS));
}

TEST(PeerConduct, ReasonsThatChangeAllTheTimeDoNotFillTheLog) {
  PeerConduct conduct;
  int lines = 0;
  std::string last;
  for (int i = 0; i < 1000; ++i) {
    if (const auto line = conduct.Refused(7, "vm1", std::to_string(i), kStartNs)) {
      ++lines;
      last = *line;
    }
  }
  EXPECT_EQ(lines, PeerConduct::kLinesPerMinute + 1);
  EXPECT_NE(last.find("more refusals"), std::string::npos) << last;
  EXPECT_TRUE(conduct.Refused(8, "vm2", "it burns", kStartNs)) << "another process is heard";
  EXPECT_TRUE(conduct.Refused(7, "vm1", "it burns", kStartNs + 60 * kNsPerS));
}

TEST(PeerConduct, ProcessIsLookedAtTwiceASecondAtMost) {
  PeerConduct conduct;
  for (int i = 0; i < PeerConduct::kMaxChecks; ++i) EXPECT_TRUE(conduct.MayBeChecked(7, kStartNs));
  EXPECT_FALSE(conduct.MayBeChecked(7, kStartNs + 4 * kNsPerS - 1));
  EXPECT_TRUE(conduct.MayBeChecked(8, kStartNs));
  EXPECT_TRUE(conduct.MayBeChecked(7, kStartNs + 4 * kNsPerS));
}

TEST(PeerConduct, ManyProcessesAreForgottenAgain) {
  PeerConduct conduct;
  for (int pid = 1; pid < 100000; ++pid) conduct.Refused(pid, "vm", "it burns", kStartNs);
  EXPECT_TRUE(conduct.Refused(1, "vm", "it burns", kStartNs));
}

}  // namespace
}  // namespace ebb
