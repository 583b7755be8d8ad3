// SPDX-License-Identifier: MIT
#include "hostd/base/size.h"

#include <gtest/gtest.h>

#include "hostd/base/units.h"

namespace ebb {
namespace {

constexpr uint64_t kGiB = 1024 * kMiB;

TEST(ParseSize, TakesWhatPeopleWrite) {
  struct Case {
    const char* text;
    uint64_t bytes;
  };
  const Case kCases[] = {
      {"0", 0},
      {"1", 1},
      {"268435456", 256 * kMiB},
      {"268435456B", 256 * kMiB},
      {"256M", 256 * kMiB},
      {"256m", 256 * kMiB},
      {"256MB", 256 * kMiB},
      {"256MiB", 256 * kMiB},
      {"256mib", 256 * kMiB},
      {"4K", 4096},
      {"1G", kGiB},
      {"1.5G", 3 * kGiB / 2},
      {"1.0G", kGiB},
      {"0.25M", kMiB / 4},
      {"0.000001T", 1099511},  // less than a byte is cut off
      {"007M", 7 * kMiB},
      {"2T", 2048 * kGiB},
      {"18446744073709551615", UINT64_MAX},
      {"16777215T", uint64_t{16777215} * 1024 * kGiB},
      {"16777215.999999T", 18446744073708452104u},
  };
  for (const Case& c : kCases) {
    const auto bytes = ParseSize(c.text);
    ASSERT_TRUE(bytes.ok()) << c.text << ": " << bytes.status();
    EXPECT_EQ(*bytes, c.bytes) << c.text;
  }
}

TEST(ParseSize, RefusesTheRestWithAnExample) {
  for (const char* text : {"",
                           " ",
                           "G",
                           "M256",
                           " 1G",
                           "1G ",
                           "1 G",
                           "-1",
                           "-1G",
                           "+1G",
                           "1.",
                           "1.G",
                           ".5G",
                           "1.5",
                           "1.5B",
                           "1..5G",
                           "1.5.5G",
                           "1,5G",
                           "1e9",
                           "0x10",
                           "1P",
                           "1E",
                           "1GG",
                           "1KM",
                           "1iB",
                           "1Gi",
                           "1Gib ",
                           "1GiBs",
                           "1Mbit",
                           "1%",
                           "none",
                           "nan",
                           "inf",
                           "1.1234567G",
                           "18446744073709551616",
                           "99999999999999999999999",
                           "16777216T",
                           "17179869184G",
                           "16777215.9999999T",
                           "\xd9\xa1G"}) {
    const auto bytes = ParseSize(text);
    ASSERT_FALSE(bytes.ok()) << text << " became " << *bytes;
    EXPECT_NE(bytes.status().ToString().find("256M"), std::string::npos) << bytes.status();
  }
}

TEST(HumanSize, HasOneDecimalAndAUnit) {
  EXPECT_EQ(HumanSize(0), "0");
  EXPECT_EQ(HumanSize(1), "0.0 KiB");
  EXPECT_EQ(HumanSize(4096), "4.0 KiB");
  EXPECT_EQ(HumanSize(kMiB), "1.0 MiB");
  EXPECT_EQ(HumanSize(256 * kMiB), "256.0 MiB");
  EXPECT_EQ(HumanSize(kGiB - 4096), "1.0 GiB") << "not 1024.0 MiB";
  EXPECT_EQ(HumanSize(1000 * kMiB), "1000.0 MiB");
  EXPECT_EQ(HumanSize(3 * kGiB / 2), "1.5 GiB");
  EXPECT_EQ(HumanSize(2048 * kGiB), "2.0 TiB");
  EXPECT_EQ(HumanSize(UINT64_MAX), "16777216.0 TiB");
}

TEST(HumanSize, CanBeReadBack) {
  for (uint64_t bytes : {4096 * uint64_t{1}, 256 * kMiB, 3 * kGiB / 2, 2048 * kGiB}) {
    std::string text = HumanSize(bytes);
    text.erase(text.find(' '), 1);
    EXPECT_EQ(*ParseSize(text), bytes) << text;
  }
}

TEST(HumanNumbers, AreShort) {
  EXPECT_EQ(HumanCount(0), "0");
  EXPECT_EQ(HumanCount(999), "999");
  EXPECT_EQ(HumanCount(1000), "1,000");
  EXPECT_EQ(HumanCount(1234567), "1,234,567");
  EXPECT_EQ(HumanMicroseconds(0), "-");
  EXPECT_EQ(HumanMicroseconds(7.54), "7.5 us");
  EXPECT_EQ(HumanMicroseconds(31.6), "32 us");
  EXPECT_EQ(HumanMicroseconds(1250), "1.2 ms");
  EXPECT_EQ(HumanMicroseconds(2500000), "2.5 s");
  EXPECT_EQ(HumanDuration(0), "0 s");
  EXPECT_EQ(HumanDuration(59.9), "59 s");
  EXPECT_EQ(HumanDuration(200), "3 min");
  EXPECT_EQ(HumanDuration(8000), "2 h 13 min");
  EXPECT_EQ(HumanDuration(446400), "5 d 4 h");
}

}  // namespace
}  // namespace ebb
