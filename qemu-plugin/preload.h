// SPDX-License-Identifier: MIT
// LD_PRELOAD loads the library into every program of an environment: a shell, `timeout`, QEMU's
// own children. These decide whether this program is meant.
#pragma once

#include <cstddef>

namespace ebb::plugin {

// True for qemu-system-*, qemu-kvm and kvm, also when the file was replaced by an upgrade.
bool IsQemu(const char* executable_path);

// The same of the program this runs in.
bool RunsInQemu();

// Copies an LD_PRELOAD list without the entries whose base name is `file_name`. False if it does
// not fit.
bool RemoveFromPreloadList(const char* list, const char* file_name, char* out, size_t size);

// Takes this library out of LD_PRELOAD, so that programs QEMU starts are not bothered.
// `library_path` is what the loader calls it. Not thread-safe, as nothing is about the environment:
// for the constructor only.
void LeavePreloadList(const char* library_path);

// The part behind the last slash.
const char* BaseName(const char* path);

}  // namespace ebb::plugin
