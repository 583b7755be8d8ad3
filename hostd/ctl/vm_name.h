// SPDX-License-Identifier: MIT
#pragma once

#include <string>

namespace ebb {

// The daemon checks names too; here they become part of a path.
bool IsVmName(const std::string& name);
// Says so on stderr; returns an ExitCode.
int ComplainAboutName(const std::string& name);

// Of the control API; `action` is empty, or "/limit" and the like.
std::string PathOf(const std::string& vm_name, const char* action = "");

}  // namespace ebb
