// SPDX-License-Identifier: MIT
#include "hostd/os/host_ids.h"

#include <gtest/gtest.h>

#include <fstream>
#include <string>

#include "absl/strings/str_format.h"

namespace ebb {
namespace {

TEST(HostIds, BootIdIsTheKernels) {
  const auto id = BootId();
  ASSERT_TRUE(id.ok()) << id.status();
  std::string digits;
  for (size_t i = 0; i < id->size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) digits += '-';
    digits += absl::StrFormat("%02x", static_cast<unsigned>((*id)[i]));
  }
  std::string expected;
  std::ifstream("/proc/sys/kernel/random/boot_id") >> expected;
  EXPECT_EQ(digits, expected);
}

TEST(HostIds, RandomIdIsAnotherOneEachTime) {
  const auto first = NewRandomId();
  const auto second = NewRandomId();
  ASSERT_TRUE(first.ok()) << first.status();
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_NE(*first, *second);
  EXPECT_NE(*first, Id128{});
}

}  // namespace
}  // namespace ebb
