// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <vector>

namespace ebb {

enum class Align { kLeft, kRight };

// Rows of cells under each other, two spaces between columns, no trailing spaces. Widths are
// counted in characters of UTF-8.
class Table {
 public:
  explicit Table(std::vector<Align> columns) : columns_(std::move(columns)) {}

  // May have fewer cells than there are columns.
  void AddRow(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }

  // Each line starts with `indent`.
  std::string ToString(const std::string& indent = "") const;

 private:
  std::vector<Align> columns_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace ebb
