// SPDX-License-Identifier: MIT
#include "tests/bench/page_data.h"

#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "hostd/os/process.h"

namespace ebb::bench {

absl::StatusOr<PageData> PageData::Read(const std::string& pages_path,
                                        const std::string& kinds_path) {
  std::optional<std::string> content = ReadFile(pages_path);
  std::optional<std::string> kinds = ReadFile(kinds_path);
  if (!content) return absl::NotFoundError(absl::StrCat("cannot read ", pages_path));
  if (!kinds) return absl::NotFoundError(absl::StrCat("cannot read ", kinds_path));
  if (kinds->empty() || content->size() != PagesToBytes(kinds->size())) {
    return absl::InvalidArgumentError(
        absl::StrCat(pages_path, " has not one page for each letter of ", kinds_path));
  }
  return PageData(*std::move(content), *std::move(kinds));
}

std::vector<uint32_t> PageData::PagesOf(std::string_view kinds) const {
  std::vector<uint32_t> found;
  for (uint32_t page = 0; page < pages(); ++page) {
    if (kinds.find(kinds_[page]) != std::string_view::npos) found.push_back(page);
  }
  return found;
}

}  // namespace ebb::bench
