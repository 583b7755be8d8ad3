// SPDX-License-Identifier: MIT
#include "hostd/ctl/vm_name.h"

#include <gtest/gtest.h>

#include <string>

namespace ebb {
namespace {

TEST(VmName, IsWhatMayStandInAPath) {
  for (const char* name : {"web", "A-z_0.9", "..", "-"}) EXPECT_TRUE(IsVmName(name)) << name;
  for (const char* name : {"", "a/b", "a b", "a%20b", "a?b", "\xc3\xa4"}) {
    EXPECT_FALSE(IsVmName(name)) << name;
  }
  EXPECT_TRUE(IsVmName(std::string(63, 'x')));
  EXPECT_FALSE(IsVmName(std::string(64, 'x')));
}

TEST(VmName, IsPartOfAPath) {
  EXPECT_EQ(PathOf("web"), "/v1/vms/web");
  EXPECT_EQ(PathOf("web", "/limit"), "/v1/vms/web/limit");
}

}  // namespace
}  // namespace ebb
