// SPDX-License-Identifier: MIT
// Sizes as people write and read them. All units are powers of 1024.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace ebb {

// "256M", "1.5G", "268435456", "2GiB", "64mb". The error says what is wrong, with an example.
absl::StatusOr<uint64_t> ParseSize(std::string_view text);

// "0", "12.0 KiB", "256.0 MiB", "1.5 GiB".
std::string HumanSize(uint64_t bytes);

// "1,234,567".
std::string HumanCount(uint64_t count);

// "31 us", "1.2 ms", "2.5 s"; "-" for 0, which is "nothing measured".
std::string HumanMicroseconds(double us);

// "42 s", "3 min", "2 h 13 min", "5 d 4 h".
std::string HumanDuration(double seconds);

}  // namespace ebb
