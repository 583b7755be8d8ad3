// SPDX-License-Identifier: MIT
#pragma once

namespace ebb::guest {

// From here on the virtual machine's power button ends this process, after which init powers the
// guest off. Does nothing in a machine without one. Call it after the modules are loaded.
void ObeyPowerButton();

}  // namespace ebb::guest
