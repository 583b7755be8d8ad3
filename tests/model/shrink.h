// SPDX-License-Identifier: MIT
#pragma once

#include <functional>
#include <vector>

#include "tests/model/operation.h"

namespace ebb::model {

// Fewer operations of which `fails` is still true: no one of them can be left out.
std::vector<Operation> Shrink(std::vector<Operation> operations,
                              const std::function<bool(const std::vector<Operation>&)>& fails);

}  // namespace ebb::model
