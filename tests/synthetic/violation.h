// SPDX-License-Identifier: MIT
#pragma once

#include <string>

#include "tests/synthetic/guest_ram.h"

namespace ebb::synthetic {

// Does one of the things after which Ebb may not manage this VM any more, for good:
//   lock         locks a part of guest RAM
//   pin          registers a part of it with io_uring, which pins it as a driver does
//   map-again    maps a part of it at a second address
//   open PATH    opens a file, as one does a device
//   discard      throws its memory away as fast as it can, for 3 s; nothing verifies after that
// False where the kernel refused, or for another word.
bool Violate(const std::string& what, const std::string& path, GuestRam* ram);

}  // namespace ebb::synthetic
