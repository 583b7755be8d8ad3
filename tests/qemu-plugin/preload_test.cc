// SPDX-License-Identifier: MIT
#include "qemu-plugin/preload.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

namespace ebb::plugin {
namespace {

std::string Without(const std::string& list) {
  char out[256];
  return RemoveFromPreloadList(list.c_str(), "libebb-qemu.so", out, sizeof out) ? out : "(full)";
}

TEST(Preload, KnowsQemuByItsName) {
  EXPECT_TRUE(IsQemu("/usr/bin/qemu-system-x86_64"));
  EXPECT_TRUE(IsQemu("/usr/bin/qemu-system-x86_64 (deleted)"));
  EXPECT_TRUE(IsQemu("/usr/libexec/qemu-kvm"));
  EXPECT_TRUE(IsQemu("/usr/bin/kvm"));
  EXPECT_TRUE(IsQemu("qemu-kvm"));
}

TEST(Preload, LeavesOtherProgramsAlone) {
  for (const char* path :
       {"/bin/true", "/usr/bin/qemu-img", "/usr/bin/qemu-x86_64", "/usr/bin/kvmx",
        "/qemu-system-x86_64/timeout", "/usr/bin/xqemu-kvm", ""}) {
    EXPECT_FALSE(IsQemu(path)) << path;
  }
  EXPECT_FALSE(RunsInQemu());
}

TEST(Preload, TakesOnlyItselfOutOfTheList) {
  EXPECT_EQ(Without("/usr/lib/libebb-qemu.so"), "");
  EXPECT_EQ(Without("libebb-qemu.so"), "");
  EXPECT_EQ(Without("/a/libone.so:/usr/lib/libebb-qemu.so /b/libtwo.so"),
            "/a/libone.so:/b/libtwo.so");
  EXPECT_EQ(Without("::/a/libebb-qemu.so: /b/libebb-qemu.so "), "");
  EXPECT_EQ(Without("/a/notlibebb-qemu.so:/libebb-qemu.so/other.so"),
            "/a/notlibebb-qemu.so:/libebb-qemu.so/other.so");
}

TEST(Preload, ListThatDoesNotFitIsLeft) {
  EXPECT_EQ(Without(std::string(254, 'x')), std::string(254, 'x'));
  EXPECT_EQ(Without(std::string(255, 'x')), "(full)");
}

TEST(Preload, UnsetsAnEmptyList) {
  setenv("LD_PRELOAD", "/x/libebb-qemu.so", 1);
  LeavePreloadList("/x/libebb-qemu.so");
  EXPECT_EQ(getenv("LD_PRELOAD"), nullptr);
  setenv("LD_PRELOAD", "/x/libebb-qemu.so:/y/libother.so", 1);
  LeavePreloadList("/x/libebb-qemu.so");
  EXPECT_STREQ(getenv("LD_PRELOAD"), "/y/libother.so");
  unsetenv("LD_PRELOAD");
}

}  // namespace
}  // namespace ebb::plugin
