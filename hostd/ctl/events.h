// SPDX-License-Identifier: MIT
#pragma once

#include "hostd/ctl/commands.h"

namespace ebb {

// `ebbctl events`: prints what ebbd has kept; with --follow waits for more, until Ctrl-C, and goes
// on with the next ebbd when one ends. Returns an ExitCode.
int RunEvents(const Invocation& invocation);

}  // namespace ebb
