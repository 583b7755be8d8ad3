// SPDX-License-Identifier: MIT
#pragma once

#include "hostd/base/wait_checks.h"

namespace ebb {

template <typename Action>
void OnFaultPath(Action action) {
  const FaultPath fault_path;
  action();
}

}  // namespace ebb
