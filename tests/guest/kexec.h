// SPDX-License-Identifier: MIT
#pragma once

namespace ebb::guest {

// Boots /kexec/kernel with /kexec/initramfs and the command line of this one, without a reset in
// between: what it had in memory stays there. Returns where there is no such kernel.
void KexecIfGiven();

}  // namespace ebb::guest
