// SPDX-License-Identifier: MIT
#pragma once

#include "tests/guest/parameters.h"

namespace ebb::guest {

// Fills memory and disk, then reads, rewrites and verifies them until the guest is ended.
[[noreturn]] void RunWorkload(const Parameters& parameters);

}  // namespace ebb::guest
