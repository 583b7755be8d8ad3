// SPDX-License-Identifier: MIT
#include "hostd/os/descriptor.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <filesystem>
#include <string>

#include "absl/strings/match.h"
#include "hostd/base/wait_checks.h"
#include "hostd/os/os_result.h"

namespace ebb {

absl::StatusOr<MemfdInfo> InspectMemfd(int fd) {
  // Only shmem and hugetlbfs files have seals, and of those only memfds have this name: a file of a
  // tmpfs could be opened by anybody who knows its path.
  const int seals = fcntl(fd, F_GET_SEALS);
  std::error_code error;
  MayWait("for /proc");
  const auto name = std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(fd), error);
  if (seals < 0 || error || !absl::StartsWith(name.string(), kMemfdNamePrefix)) {
    return absl::InvalidArgumentError("guest RAM is not a memfd");
  }
  if ((seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)) != 0) {
    return absl::InvalidArgumentError("the RAM memfd is sealed against writing");
  }
  const int flags = fcntl(fd, F_GETFL);
  if (flags < 0 || (flags & O_ACCMODE) != O_RDWR) {
    return absl::InvalidArgumentError("the RAM memfd is not open for reading and writing");
  }
  struct stat info;
  if (fstat(fd, &info) != 0) return ErrnoStatus("fstat of the RAM memfd");
  return MemfdInfo{{info.st_dev, info.st_ino},
                   static_cast<uint64_t>(info.st_size),
                   static_cast<uint64_t>(info.st_blksize)};
}

absl::Status CheckIsUserfaultfd(int fd) {
  std::error_code error;
  MayWait("for /proc");
  const auto target = std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(fd), error);
  if (error || target != "anon_inode:[userfaultfd]") {
    return absl::InvalidArgumentError("the first descriptor is not a userfaultfd");
  }
  return absl::OkStatus();
}

}  // namespace ebb
