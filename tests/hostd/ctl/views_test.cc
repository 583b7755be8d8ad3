// SPDX-License-Identifier: MIT
// What ebbctl prints about VMs, byte by byte where the layout counts.
#include <gtest/gtest.h>

#include "hostd/base/units.h"
#include "tests/hostd/ctl/ebbctl_fixture.h"

namespace ebb {
namespace {

using ViewsTest = EbbctlTest;

TEST_F(ViewsTest, ListIsATable) {
  VmStatus idle;
  idle.name = "idle-machine";
  idle.state = "running";
  idle.ram_bytes = 4096 * kMiB;
  idle.resident_bytes = 100 * kMiB;
  host_.Add(idle);
  const Result result = Run({"list"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.err, "");
  EXPECT_EQ(result.out,
            "NAME          STATE        RAM      LIMIT   RESIDENT    SWAPPED       POOL  RATIO"
            "      SAVED  FAULT p99\n"
            "idle-machine  running  4.0 GiB       none  100.0 MiB          0          0      -"
            "          0          -\n"
            "web           running  1.0 GiB  256.0 MiB  255.0 MiB  700.0 MiB  350.0 MiB   2.00"
            "  345.0 MiB      92 us\n");
}

TEST_F(ViewsTest, ListSaysWhatIsGoingOn) {
  VmStatus vm = FakeHost::SomeVm("a");
  vm.swap_out_target_bytes = kMiB;
  host_.Add(vm);
  vm = FakeHost::SomeVm("b");
  vm.swap_in_remaining_bytes = kMiB;
  host_.Add(vm);
  vm = FakeHost::SomeVm("c");
  vm.state = "held";
  vm.held_reason =
      "checksum\x1b[31m\xc2\x9b"
      "32m";
  host_.Add(vm);
  const Result result = Run({"list"});
  ExpectContains(result.out, "a     swapping out  1.0 GiB");
  ExpectContains(result.out, "b     swapping in   1.0 GiB");
  ExpectContains(result.out, "c     held          1.0 GiB");
  ExpectContains(result.out, "\nc is held: checksum?[31m?32m\n");
  ExpectNoTrailingSpaces(result.out);
}

TEST_F(ViewsTest, ListOfNothingSaysSo) {
  host_.Remove("web");
  const Result result = Run({"list"});
  EXPECT_EQ(result.exit_code, 0);
  ExpectContains(result.out, "No VM is attached.");
}

TEST_F(ViewsTest, StatusWarnsAboutKilling) {
  const Result result = Run({"status"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  ExpectContains(result.out, "ebbd 0.1.0: running (process 77, up 2 h 13 min, Linux 6.1.0");
  ExpectContains(result.out,
                 "Killing ebbd (kill -9, a crash) stops its VMs for good until crash recovery "
                 "exists.\n");
  ExpectContains(result.out, "SIGTERM) is safe: it brings every page back first.\n");
  ExpectNoTrailingSpaces(result.out);
  EXPECT_EQ(result.out.find("refused"), std::string::npos);
  host_.SetStopRefused("700 MiB do not fit");
  ExpectContains(Run({"status"}).out, "refused: 700 MiB do not fit\n");
}

TEST_F(ViewsTest, ShowHasItAll) {
  const Result result = Run({"show", "web"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  ExpectContains(result.out, "VM web: running (QEMU process 4242)\n");
  for (const char* part :
       {"255.0 MiB", "700.0 MiB", "256.0 MiB", "ratio 2.00", "345.0 MiB", "10.0 MiB",
        "1,234,567 pages", "700,000", "32 us", "12.0 ms", "4.8 ms", "16.0 MiB"}) {
    ExpectContains(result.out, part);
  }
  ExpectNoTrailingSpaces(result.out);
  for (size_t begin = 0; begin < result.out.size();) {
    const size_t end = result.out.find('\n', begin);
    EXPECT_LE(end - begin, 90u) << result.out.substr(begin, end - begin);
    begin = end + 1;
  }
}

TEST_F(ViewsTest, WhatIsOnTheDiskShows) {
  for (const char* command : {"list", "status"}) {
    EXPECT_EQ(Run({command}).out.find("DISK"), std::string::npos);
    EXPECT_EQ(Run({command}).out.find("On disk"), std::string::npos);
  }
  EXPECT_EQ(Run({"show", "web"}).out.find("Disk"), std::string::npos);
  host_.Add(FakeHost::SomeVmOnDisk("web"));
  const std::string list = Run({"list"}).out;
  ExpectContains(list, "RATIO       DISK      SAVED  FAULT p99\n");
  ExpectContains(list, "170.0 MiB   2.00  350.0 MiB  525.0 MiB      92 us\n");
  const std::string show = Run({"show", "web"}).out;
  ExpectContains(show, "180.0 MiB  of the disk, for 350.0 MiB of pages\n");
  ExpectContains(show, "100,000 pages\n");
  ExpectContains(show, "4,000 pages, swapped in with another one's block\n");
  ExpectContains(Run({"status"}).out, "350.0 MiB  of what is swapped out; see: ebbctl tier\n");
}

TEST_F(ViewsTest, ShowTellsThatThePoolIsFull) {
  VmStatus vm = FakeHost::SomeVm("web");
  vm.pool_full = true;
  host_.Add(vm);
  ExpectContains(Run({"show", "web"}).out, "FULL");
}

TEST_F(ViewsTest, ShowTellsThatAVmIsHeld) {
  VmStatus vm = FakeHost::SomeVm("web");
  vm.state = "held";
  vm.held_reason = "checksum of page 17 is wrong";
  vm.held_pages = 1;
  host_.Add(vm);
  ExpectContains(Run({"show", "web"}).out, "HELD: checksum of page 17 is wrong\n");
}

}  // namespace
}  // namespace ebb
