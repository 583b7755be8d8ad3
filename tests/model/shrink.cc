// SPDX-License-Identifier: MIT
#include "tests/model/shrink.h"

#include <algorithm>
#include <cstddef>

namespace ebb::model {

std::vector<Operation> Shrink(std::vector<Operation> operations,
                              const std::function<bool(const std::vector<Operation>&)>& fails) {
  for (size_t part = operations.size() / 2; part > 0;) {
    bool shorter = false;
    for (size_t first = 0; first < operations.size();) {
      std::vector<Operation> fewer = operations;
      const auto begin = fewer.begin() + static_cast<ptrdiff_t>(first);
      fewer.erase(begin, begin + static_cast<ptrdiff_t>(std::min(part, fewer.size() - first)));
      if (fails(fewer)) {
        operations = std::move(fewer);
        shorter = true;
      } else {
        first += part;
      }
    }
    // With single ones, until none can go: one may only have been needed by a later one.
    if (part > 1 || !shorter) part /= 2;
  }
  return operations;
}

}  // namespace ebb::model
