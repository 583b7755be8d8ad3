// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "hostd/os/disk.h"

namespace ebb {

inline constexpr uint64_t kLeastDiskBytes = uint64_t{16} << 20;

// Makes a disk tier of a file or a block device, for this ebbd alone. Whatever an earlier one has
// left there is lost. Nothing of anybody else is overwritten: that is refused, and so is what is
// too small, in use, or of a newer Ebb; the error says what to do. `bytes` is how much of it the
// tier takes: needed for a file that is not there, otherwise all of it is the default.
//
// The first segment (SegmentSpace) holds the header.
absl::StatusOr<std::unique_ptr<Disk>> OpenTierDisk(const std::string& path,
                                                   std::optional<uint64_t> bytes);

}  // namespace ebb
