// SPDX-License-Identifier: MIT
#include "hostd/os/ram_layout.h"

#include <gtest/gtest.h>

namespace ebb {
namespace {

constexpr uint64_t kLow = 0x7f0000000000;
constexpr uint64_t kHigh = 0x7f8000000000;

// As a QEMU lays out RAM: the second mapping lies below the first, in another file.
class RamLayoutTest : public testing::Test {
 protected:
  RamLayout layout_{{{{kHigh}, 10, 0x5000, 0}, {{kLow}, 4, 0, 1}, {{kHigh + 0x100000}, 1, 0, 0}}};
};

using RamLayoutDeathTest = RamLayoutTest;

TEST_F(RamLayoutTest, PagesAreCountedOverAllMappings) { EXPECT_EQ(layout_.pages(), 15u); }

TEST_F(RamLayoutTest, EmptyLayoutHasNoPages) {
  const RamLayout empty;
  EXPECT_EQ(empty.pages(), 0u);
  EXPECT_FALSE(empty.PageAt({kLow}));
}

TEST_F(RamLayoutTest, FirstAndLastPageOfEachMappingAreFound) {
  EXPECT_EQ(layout_.Find({0}).hva(), Hva{kHigh});
  EXPECT_EQ(layout_.Find({0}).file_offset(), 0x5000u);
  EXPECT_EQ(layout_.Find({9}).hva(), Hva{kHigh + 9 * kPageBytes});
  EXPECT_EQ(layout_.Find({9}).file_offset(), 0x5000u + 9 * kPageBytes);
  EXPECT_EQ(layout_.Find({10}).hva(), Hva{kLow});
  EXPECT_EQ(layout_.Find({10}).mapping->memfd, 1u);
  EXPECT_EQ(layout_.Find({13}).hva(), Hva{kLow + 3 * kPageBytes});
  EXPECT_EQ(layout_.Find({14}).hva(), Hva{kHigh + 0x100000});
}

TEST_F(RamLayoutTest, PageAtIsTheInverseOfFind) {
  for (PageIndex page; page.value < layout_.pages(); page = page + 1) {
    const Hva hva = layout_.Find(page).hva();
    EXPECT_EQ(layout_.PageAt(hva), page);
    EXPECT_EQ(layout_.PageAt({hva.value + kPageBytes - 1}), page) << "any byte of it";
  }
}

TEST_F(RamLayoutTest, AddressesBesideTheMappingsAreNoPages) {
  for (const uint64_t hva : {uint64_t{0}, kHigh - 1, kHigh + 10 * kPageBytes, kLow - 1,
                             kLow + 4 * kPageBytes, kHigh + 0x100000 + kPageBytes, UINT64_MAX}) {
    EXPECT_FALSE(layout_.PageAt({hva})) << std::hex << hva;
  }
}

TEST_F(RamLayoutTest, RunEndsWithItsMapping) {
  EXPECT_EQ(layout_.FirstRun({{0}, 100}), (PageRange{{0}, 10}));
  EXPECT_EQ(layout_.FirstRun({{9}, 2}), (PageRange{{9}, 1}));
  EXPECT_EQ(layout_.FirstRun({{10}, 3}), (PageRange{{10}, 3}));
  EXPECT_EQ(layout_.FirstRun({{3}, 0}), (PageRange{{3}, 0}));
}

TEST_F(RamLayoutTest, MappingThatEndsAtTheTopOfTheAddressSpaceHasItsLastPage) {
  const RamLayout top({{{UINT64_MAX - 2 * kPageBytes + 1}, 2, 0, 0}});
  EXPECT_EQ(top.PageAt({UINT64_MAX}), PageIndex{1});
  EXPECT_FALSE(top.PageAt({0}));
}

TEST_F(RamLayoutDeathTest, PageOutsideEndsTheDaemon) {
  EXPECT_DEATH(layout_.Find({15}), "outside the VM's RAM");
  EXPECT_DEATH(layout_.FirstRun({{15}, 1}), "outside the VM's RAM");
}

}  // namespace
}  // namespace ebb
