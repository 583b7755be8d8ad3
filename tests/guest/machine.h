// SPDX-License-Identifier: MIT
#pragma once

#include <functional>
#include <string>

namespace ebb::guest {

// What a guest's /init does around its work. Everything here ends the guest, with a reason on the
// console, where it fails.

// Mounts a filesystem without a device behind it; the folder is made.
void Mount(const char* type, const char* where);

// Loads the modules of the initramfs.
void LoadModules();

std::string KernelCommandLine();

// Runs `work` in a child with /proc, /sys, /dev and the console, so that whatever happens to it is
// reported. Boots the kernel for kexec then, if there is one and nothing failed; else powers the
// guest off.
[[noreturn]] void RunAsInit(const std::function<void()>& work);

}  // namespace ebb::guest
