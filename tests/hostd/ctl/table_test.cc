// SPDX-License-Identifier: MIT
#include "hostd/ctl/table.h"

#include <gtest/gtest.h>

namespace ebb {
namespace {

TEST(Table, AlignsColumnsWithoutTrailingSpaces) {
  Table table({Align::kLeft, Align::kRight, Align::kLeft});
  table.AddRow({"NAME", "SIZE", "NOTE"});
  table.AddRow({"web", "1.0 GiB", "hello"});
  table.AddRow({"database", "4.0 KiB", ""});
  table.AddRow({"x"});
  EXPECT_EQ(table.ToString(),
            "NAME         SIZE  NOTE\n"
            "web       1.0 GiB  hello\n"
            "database  4.0 KiB\n"
            "x\n");
}

TEST(Table, IndentsEachLine) {
  Table table({Align::kLeft});
  table.AddRow({"a"});
  table.AddRow({""});
  EXPECT_EQ(table.ToString("  "), "  a\n\n");
}

TEST(Table, CountsCharactersNotBytes) {
  Table table({Align::kLeft, Align::kLeft});
  table.AddRow({"\xc3\xa9\xc3\xa9", "1"});
  table.AddRow({"eee", "2"});
  EXPECT_EQ(table.ToString(), "\xc3\xa9\xc3\xa9   1\neee  2\n");
}

TEST(Table, MayBeEmpty) { EXPECT_EQ(Table({Align::kLeft}).ToString(), ""); }

}  // namespace
}  // namespace ebb
