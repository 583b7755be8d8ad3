// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

namespace ebb::hammer {

// From now on threads of the code under test are held up for a moment at test points, here and
// there: what needs two threads in the wrong order happens more often. Call it before they start.
void StartDelays(uint64_t seed);

}  // namespace ebb::hammer
