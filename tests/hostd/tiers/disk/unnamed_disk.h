// SPDX-License-Identifier: MIT
#pragma once

#include <unistd.h>

#include <cstdlib>
#include <memory>
#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "hostd/os/disk.h"
#include "hostd/tiers/disk/open_tier_disk.h"

namespace ebb {

// A disk tier in a file that is gone as soon as it is closed, in the first of the folders whose
// file system can be one.
inline absl::StatusOr<std::unique_ptr<Disk>> OpenUnnamedDisk(std::span<const std::string> folders,
                                                             uint64_t bytes) {
  absl::StatusOr<std::unique_ptr<Disk>> disk = absl::NotFoundError("no folder for a disk");
  for (const std::string& in : folders) {
    std::string folder = in + "/ebb-disk-XXXXXX";
    if (mkdtemp(folder.data()) == nullptr) continue;
    const std::string path = folder + "/disk";
    disk = OpenTierDisk(path, bytes);
    unlink(path.c_str());
    rmdir(folder.c_str());
    if (disk.ok()) break;
  }
  return disk;
}

}  // namespace ebb
