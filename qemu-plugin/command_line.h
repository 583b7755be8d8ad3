// SPDX-License-Identifier: MIT
// What the library wants to know about the QEMU it is in and can only learn from its arguments.
// `path` is /proc/self/cmdline, except in tests.
#pragma once

#include <cstddef>

namespace ebb::plugin {

inline constexpr char kOwnCommandLine[] = "/proc/self/cmdline";

// True if `-option` or `--option` is among the arguments.
bool CommandLineHas(const char* path, const char* option);

// True if QEMU will load `file_name` (a base name) by -plugin.
bool CommandLineLoadsPlugin(const char* path, const char* file_name);

// The guest's name as in `-name X` or `-name guest=X,...`. False if there is none.
bool NameFromCommandLine(const char* path, char* name, size_t size);

}  // namespace ebb::plugin
