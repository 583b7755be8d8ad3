// SPDX-License-Identifier: MIT
#include "qemu-plugin/qemu_version.h"

#include <gtest/gtest.h>

#include <cstring>
#include <set>
#include <string>

namespace ebb::plugin {
namespace {

// What a QEMU's VersionInfo looks like in memory.
struct FakeVersion {
  int64_t numbers[3];
};
struct FakeInfo {
  FakeVersion* qemu;
  const char* package;
};

FakeVersion g_version;
std::set<std::string> g_symbols;
int g_freed;

void* Query(void**) {
  static FakeInfo info = {&g_version, ""};
  return &info;
}
void Free(void*) { ++g_freed; }

void* LookUp(const char* name) {
  if (g_symbols.count(name) == 0) return nullptr;
  if (strcmp(name, "qmp_query_version") == 0) return reinterpret_cast<void*>(Query);
  return reinterpret_cast<void*>(Free);
}

// Why it is not served, "" where it is.
std::string WhyNot(int major, int minor, int micro = 0) {
  char why[160] = {};
  const QemuVersion version = {.major = major, .minor = minor, .micro = micro};
  return IsTested(version, why, sizeof why) ? "" : why;
}

int ApiOf(int major, int minor) {
  return ChoosePluginApi({.major = major, .minor = minor, .micro = 0}, LookUp, nullptr);
}

class QemuVersionTest : public testing::Test {
 protected:
  void SetUp() override {
    g_symbols.clear();
    g_freed = 0;
  }
};

TEST_F(QemuVersionTest, AsksQemu) {
  g_symbols = {"qmp_query_version", "qapi_free_VersionInfo"};
  g_version = {{7, 2, 22}};
  QemuVersion version = AskQemuVersion(LookUp);
  EXPECT_TRUE(version.known());
  EXPECT_EQ(version.packed(), 7u << 16 | 2u << 8 | 22u);
  EXPECT_EQ(g_freed, 1);
}

TEST_F(QemuVersionTest, UnknownWithoutTheSymbol) {
  EXPECT_FALSE(AskQemuVersion(LookUp).known());
  EXPECT_EQ(QemuVersion{}.packed(), 0u);
}

TEST_F(QemuVersionTest, NonsenseIsUnknown) {
  g_symbols = {"qmp_query_version"};
  g_version = {{0x7f0012345678, -1, 0}};
  EXPECT_FALSE(AskQemuVersion(LookUp).known());
}

TEST_F(QemuVersionTest, ServesTheTestedRangeOnly) {
  EXPECT_EQ(WhyNot(7, 2), "");
  EXPECT_EQ(WhyNot(7, 2, 22), "");
  EXPECT_EQ(WhyNot(8, 0), "");
  EXPECT_EQ(WhyNot(10, 0, 2), "");
  EXPECT_EQ(WhyNot(11, 1, 49), "");
  EXPECT_EQ(WhyNot(11, 1, 50),
            "QEMU 11.1.50 is newer than 11.1, the newest that Ebb is tested with");
  EXPECT_EQ(WhyNot(7, 1, 9), "QEMU 7.1.9 is older than 7.2, the oldest that Ebb is tested with");
  EXPECT_EQ(WhyNot(11, 2, 3), "QEMU 11.2.3 is newer than 11.1, the newest that Ebb is tested with");
  EXPECT_EQ(WhyNot(12, 0), "QEMU 12.0.0 is newer than 11.1, the newest that Ebb is tested with");
  EXPECT_EQ(WhyNot(0, 0),
            "this QEMU does not tell its version, and Ebb is tested with 7.2 to 11.1");
}

// The table of facts: each QEMU's range, and what is chosen in it.
TEST_F(QemuVersionTest, ChoosesWhatEachQemuSupports) {
  struct Range {
    int major, minor, min, cur;
  };
  for (const Range& range :
       {Range{6, 0, 0, 1}, Range{7, 2, 0, 1}, Range{8, 2, 0, 1}, Range{9, 0, 2, 2},
        Range{9, 1, 2, 3}, Range{9, 2, 2, 4}, Range{10, 0, 2, 4}, Range{10, 1, 2, 5},
        Range{10, 2, 2, 6}, Range{11, 0, 2, 6}, Range{11, 1, 7, 7}, Range{12, 0, 7, 7}}) {
    int api = ApiOf(range.major, range.minor);
    EXPECT_GE(api, range.min) << range.major << "." << range.minor;
    EXPECT_LE(api, range.cur) << range.major << "." << range.minor;
  }
}

TEST_F(QemuVersionTest, GuessesFromPluginSymbols) {
  EXPECT_EQ(ChoosePluginApi({}, LookUp, nullptr), 1);
  g_symbols = {"qemu_plugin_num_vcpus"};
  EXPECT_EQ(ChoosePluginApi({}, LookUp, nullptr), 2);
  g_symbols = {"qemu_plugin_num_vcpus", "qemu_plugin_register_vcpu_discon_cb"};
  EXPECT_EQ(ChoosePluginApi({}, LookUp, nullptr), 6);
}

TEST_F(QemuVersionTest, OverrideWinsIfItIsANumber) {
  const QemuVersion version = {.major = 10, .minor = 2, .micro = 0};
  EXPECT_EQ(ChoosePluginApi(version, LookUp, "9"), 9);
  EXPECT_EQ(ChoosePluginApi(version, LookUp, "0"), 0);
  EXPECT_EQ(ChoosePluginApi(version, LookUp, ""), 6);
  EXPECT_EQ(ChoosePluginApi(version, LookUp, "nine"), 6);
  EXPECT_EQ(ChoosePluginApi(version, LookUp, "-1"), 6);
}

}  // namespace
}  // namespace ebb::plugin
