// SPDX-License-Identifier: MIT
#pragma once

#include <functional>
#include <span>

#include "hostd/base/units.h"
#include "hostd/page/page_word.h"

namespace ebb {

// A page reclaim has moved into Cooling, Guarded or SwappingOut, with the word it left there. It is
// a claim, not ownership: a fault may take the page back at any time, and then the word differs.
struct ClaimedPage {
  PageIndex page;
  PageWord word;
};

// Calls `action` for each run of neighbouring pages among `pages`, which must be ascending.
inline void ForEachRun(std::span<const ClaimedPage> pages,
                       const std::function<void(PageRange)>& action) {
  for (size_t start = 0; start < pages.size();) {
    size_t end = start + 1;
    while (end < pages.size() && pages[end].page == pages[end - 1].page + 1) ++end;
    action({pages[start].page, end - start});
    start = end;
  }
}

}  // namespace ebb
