// SPDX-License-Identifier: MIT
// The commands about the host's budget, and who gets how much of it.
#pragma once

#include "hostd/ctl/commands.h"

namespace ebb {

// Each returns an ExitCode.
int RunBudget(const Invocation& invocation);
int RunGuarantee(const Invocation& invocation);
int RunWeight(const Invocation& invocation);

}  // namespace ebb
