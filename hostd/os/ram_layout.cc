// SPDX-License-Identifier: MIT
#include "hostd/os/ram_layout.h"

#include <algorithm>
#include <utility>

#include "hostd/base/check.h"

namespace ebb {

RamLayout::RamLayout(std::vector<RamMapping> mappings) : mappings_(std::move(mappings)) {
  for (const RamMapping& mapping : mappings_) {
    first_page_.push_back({pages_});
    pages_ += mapping.pages;
  }
}

RamLayout::Place RamLayout::Find(PageIndex page) const {
  EBB_CHECK(page.value < pages_, "page outside the VM's RAM");
  const auto after = std::upper_bound(first_page_.begin(), first_page_.end(), page);
  const auto index = static_cast<size_t>(after - first_page_.begin()) - 1;
  return {&mappings_[index], page.value - first_page_[index].value};
}

std::optional<PageIndex> RamLayout::PageAt(Hva hva) const {
  // At most wire::kMaxRamBlocks mappings: a scan beats a second sorted index.
  for (size_t i = 0; i < mappings_.size(); ++i) {
    const uint64_t offset = hva.value - mappings_[i].hva.value;
    if (hva >= mappings_[i].hva && BytesToPages(offset) < mappings_[i].pages) {
      return first_page_[i] + BytesToPages(offset);
    }
  }
  return std::nullopt;
}

PageRange RamLayout::FirstRun(PageRange range) const {
  const Place place = Find(range.first);
  return {range.first, std::min(range.count, place.pages_left())};
}

}  // namespace ebb
