// SPDX-License-Identifier: MIT
#pragma once

#include <string>

#include "hostd/ctl/commands.h"
#include "hostd/ctl/views.h"

namespace ebb {

// `ebbctl tier`: where swapped pages are, and how that does. Returns an ExitCode.
int RunTier(const Invocation& invocation);

// The tiers in the answer of /v1/tiers.
const Json& TiersOf(const Json& tiers);

// One row for each, and what is wrong. `tiers` is the answer of /v1/tiers.
std::string TierView(const Json& tiers);

}  // namespace ebb
