// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "hostd/base/units.h"

namespace ebb::bench {

// The pages that tests/bench/page_data.py has made, and what kind of memory each is of: a letter.
class PageData {
 public:
  // `kinds_path`: a file with one letter per page.
  static absl::StatusOr<PageData> Read(const std::string& pages_path,
                                       const std::string& kinds_path);

  uint32_t pages() const { return static_cast<uint32_t>(kinds_.size()); }
  const std::byte* page(uint32_t index) const {
    return reinterpret_cast<const std::byte*>(content_.data()) + PagesToBytes(index);
  }
  // The pages whose kind is one of `kinds`.
  std::vector<uint32_t> PagesOf(std::string_view kinds) const;

 private:
  PageData(std::string content, std::string kinds)
      : content_(std::move(content)), kinds_(std::move(kinds)) {}

  std::string content_;
  std::string kinds_;
};

}  // namespace ebb::bench
