// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

#include "tests/hammer/guest.h"

namespace ebb::hammer {

// The command line of the hammer.
struct Options {
  GuestOptions guest;
  uint64_t operations = 1000000;  // on pages, at least
  int64_t seconds = 600;          // for that, at most
  bool delays = false;
};

// Ends the process with a message on stderr if it makes no sense.
Options ParseOptions(int argc, char** argv);

}  // namespace ebb::hammer
