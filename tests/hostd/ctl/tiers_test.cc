// SPDX-License-Identifier: MIT
// What `ebbctl tier` prints.
#include "hostd/ctl/tiers.h"

#include <gtest/gtest.h>

#include "hostd/control/status_json.h"
#include "tests/hostd/ctl/ebbctl_fixture.h"

namespace ebb {
namespace {

using TiersTest = EbbctlTest;

TEST_F(TiersTest, WithoutADiskItSaysHowToGetOne) {
  const Result result = Run({"tier"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.out,
            "TIER  STATE    MAXIMUM      TAKEN       USED      HOLDS    PAGES  READS  FAILED  "
            "WRITES  FAILED\n"
            "pool  ok     512.0 MiB  350.0 MiB  350.0 MiB  680.0 MiB  174,080      -       -  "
            "     -       -\n"
            "\n"
            "There is no disk: what the pool has no room for stays resident. To have one, stop "
            "ebbd and\n"
            "start it with --disk PATH:SIZE.\n");
}

TEST_F(TiersTest, ADiskHasARowAndItsPath) {
  host_.SetDisk(FakeHost::SomeDisk());
  const Result result = Run({"tier"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  ExpectContains(result.out,
                 "disk  ok       1.0 GiB  200.0 MiB  180.0 MiB  350.0 MiB   89,600  12,345       2"
                 "  54,321       3\n");
  ExpectContains(result.out, "\n\ndisk: /var/lib/ebb/disk\n");
  ExpectNoTrailingSpaces(result.out);
  EXPECT_EQ(result.out.find("There is no disk"), std::string::npos);
}

TEST_F(TiersTest, TroubleIsExplained) {
  TierStatus disk = FakeHost::SomeDisk();
  disk.path = "/dev/\x1b[31m";
  disk.state = "failing";
  disk.message = "the last write failed; look at dmesg";
  host_.SetDisk(disk);
  const Result result = Run({"tier"});
  ExpectContains(result.out, "disk  failing");
  ExpectContains(result.out, "failing: the last write failed; look at dmesg\n");
  ExpectContains(result.out, "disk: /dev/?[31m\n");
}

TEST_F(TiersTest, JsonIsTheApis) {
  host_.SetDisk(FakeHost::SomeDisk());
  const Result result = Run({"tier", "--json"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(Json::parse(result.out, nullptr, false)["tiers"][1], ToJson(FakeHost::SomeDisk()));
}

TEST_F(TiersTest, NoDaemonIsSaid) {
  server_.reset();
  EXPECT_EQ(Run({"tier"}).exit_code, 3);
}

TEST(TierView, TakesWhateverThereIs) {
  for (const char* text : {"{}", "[]", "7", "null", "{\"tiers\":7}", "{\"tiers\":[7]}"}) {
    EXPECT_NE(TierView(Json::parse(text)).find("There is no disk"), std::string::npos) << text;
  }
}

}  // namespace
}  // namespace ebb
