// SPDX-License-Identifier: MIT
// The commands about what VMs may have of the host's memory.
#pragma once

#include "hostd/ctl/commands.h"

namespace ebb {

// Each returns an ExitCode.
int RunLimit(const Invocation& invocation);
int RunBudget(const Invocation& invocation);
int RunGuarantee(const Invocation& invocation);
int RunWeight(const Invocation& invocation);

}  // namespace ebb
