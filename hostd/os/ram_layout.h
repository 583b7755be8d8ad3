// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "hostd/base/units.h"

namespace ebb {

// One mapping of a RAM memfd in QEMU.
struct RamMapping {
  Hva hva;
  uint64_t pages = 0;
  uint64_t file_offset = 0;  // bytes
  size_t memfd = 0;          // index into the VM's list of RAM memfds
};

// A VM's RAM: its mappings laid end to end as pages 0..pages(). Immutable, thread-safe.
class RamLayout {
 public:
  RamLayout() = default;  // no RAM
  // Mappings must be page aligned, not empty and not overlap in HVA (the attach check made sure).
  explicit RamLayout(std::vector<RamMapping> mappings);

  uint64_t pages() const { return pages_; }
  std::span<const RamMapping> mappings() const { return mappings_; }

  // The mapping that holds `page`, and the page's place in it. `page` must be below pages().
  struct Place {
    const RamMapping* mapping;
    uint64_t page_in_mapping;
    Hva hva() const { return {mapping->hva.value + PagesToBytes(page_in_mapping)}; }
    uint64_t file_offset() const { return mapping->file_offset + PagesToBytes(page_in_mapping); }
    uint64_t pages_left() const { return mapping->pages - page_in_mapping; }
  };
  Place Find(PageIndex page) const;

  // The page at `hva`, or none where it is not guest RAM.
  std::optional<PageIndex> PageAt(Hva hva) const;

  // The part of `range` from its start that lies in one mapping.
  PageRange FirstRun(PageRange range) const;

 private:
  std::vector<RamMapping> mappings_;
  std::vector<PageIndex> first_page_;  // of each mapping
  uint64_t pages_ = 0;
};

}  // namespace ebb
