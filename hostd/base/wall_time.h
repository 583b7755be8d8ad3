// SPDX-License-Identifier: MIT
// The time of day, for people and for other machines. Nothing here decides anything by it: it may
// jump. Thread-safe.
#pragma once

#include <cstdint>
#include <string>

namespace ebb {

// Milliseconds since 1970.
int64_t WallTimeMs();

// RFC 3339 in UTC: "2026-01-31T23:59:59.007Z". For any time from 1970 to 9999.
std::string UtcText(int64_t wall_time_ms);

}  // namespace ebb
