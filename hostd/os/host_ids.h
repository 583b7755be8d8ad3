// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstddef>

#include "absl/status/statusor.h"

namespace ebb {

using Id128 = std::array<std::byte, 16>;

// Of the kernel since it booted.
absl::StatusOr<Id128> BootId();
absl::StatusOr<Id128> NewRandomId();

}  // namespace ebb
