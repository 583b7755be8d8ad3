// SPDX-License-Identifier: MIT
#include "hostd/tiers/disk/open_tier_disk.h"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "hostd/base/log.h"
#include "hostd/base/size.h"
#include "hostd/base/status_macros.h"
#include "hostd/os/disk_file.h"
#include "hostd/os/uring_disk.h"
#include "hostd/tiers/disk/disk_header.h"
#include "hostd/tiers/disk/segment_space.h"

namespace ebb {
namespace {

constexpr uint64_t kHeaderSegmentBytes = uint64_t{kSegmentBlocks} * kDiskBlockBytes;

absl::Status RefuseForeign(const DiskFile& file) {
  const std::string& path = file.path();
  if (!file.is_device()) {
    return absl::FailedPreconditionError(
        path + " holds something else than a disk tier: choose another path, or remove the file");
  }
  return absl::FailedPreconditionError(absl::StrFormat(
      "%s holds something else than a disk tier: choose another device or, if nothing on it is "
      "needed any more, clear it: wipefs -a %s && blkdiscard -z -l 1M %s",
      path, path, path));
}

// That it may be overwritten.
absl::Status CheckStart(const DiskFile& file, const Id128& boot) {
  EBB_ASSIGN_OR_RETURN(const std::vector<std::byte> start, file.ReadStart(kHeaderSegmentBytes));
  const DiskStart found = DiskStart::Of(start);
  switch (found.kind) {
    case DiskStart::Kind::kNothing:
      // A file full of zeros may be the disk of a VM that was not started yet.
      return file.is_device() || start.empty() ? absl::OkStatus() : RefuseForeign(file);
    case DiskStart::Kind::kForeign:
      return RefuseForeign(file);
    case DiskStart::Kind::kNewer:
      return absl::FailedPreconditionError(
          file.path() + " is a disk tier of a newer Ebb: use that version, or choose another path");
    case DiskStart::Kind::kDamaged:
      LogWarning("%s is a disk tier with a damaged header; what is on it is not needed any more",
                 file.path());
      return absl::OkStatus();
    case DiskStart::Kind::kOurs:
      LogInfo("%s is a disk tier that an ebbd has left %s; what is on it is not needed any more",
              file.path(),
              found.header.boot == boot ? "since this host has booted" : "before this host booted");
      return absl::OkStatus();
  }
  return RefuseForeign(file);
}

absl::StatusOr<uint64_t> BytesToUse(const DiskFile& file, std::optional<uint64_t> wanted) {
  const std::string& path = file.path();
  if (!wanted.has_value() && !file.is_device() && file.bytes() == 0) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "%s is a new file for the disk tier: say how large it is to be, as in %s:16G", path, path));
  }
  const uint64_t bytes = wanted.value_or(file.bytes()) / kDiskBlockBytes * kDiskBlockBytes;
  if (file.is_device() && bytes > file.bytes()) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "%s has %s, which is less than %s: give a smaller size, or none to use all of it", path,
        HumanSize(file.bytes()), HumanSize(bytes)));
  }
  if (bytes < kLeastDiskBytes) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%s: a disk tier of %s is too small: give it at least %s", path,
                        HumanSize(bytes), HumanSize(kLeastDiskBytes)));
  }
  return bytes;
}

absl::Status MarkAsOurs(DiskFile& file, const DiskHeader& header) {
  std::array<std::byte, kDiskBlockBytes> block;
  WriteDiskHeader(header, block);
  EBB_RETURN_IF_ERROR(file.WriteStart(block));
  EBB_ASSIGN_OR_RETURN(const std::vector<std::byte> written, file.ReadStart(kDiskBlockBytes));
  if (std::equal(written.begin(), written.end(), block.begin(), block.end())) {
    return absl::OkStatus();
  }
  return absl::DataLossError(file.path() +
                             " does not give back what was written to it: replace that disk");
}

}  // namespace

absl::StatusOr<std::unique_ptr<Disk>> OpenTierDisk(const std::string& path,
                                                   std::optional<uint64_t> bytes) {
  DiskHeader header;
  EBB_ASSIGN_OR_RETURN(header.boot, BootId());
  EBB_ASSIGN_OR_RETURN(header.instance, NewRandomId());
  EBB_ASSIGN_OR_RETURN(DiskFile file, DiskFile::Open(path));
  EBB_RETURN_IF_ERROR(CheckStart(file, header.boot));
  EBB_ASSIGN_OR_RETURN(header.disk_bytes, BytesToUse(file, bytes));
  if (!file.is_device()) EBB_RETURN_IF_ERROR(file.MakePrivate());
  // Before the space is reserved: an ebbd that is killed in between leaves a file that the next one
  // knows to be a tier.
  EBB_RETURN_IF_ERROR(MarkAsOurs(file, header));
  if (!file.is_device()) EBB_RETURN_IF_ERROR(file.Reserve(header.disk_bytes));
  LogInfo("the disk tier is %s, %s", path, HumanSize(header.disk_bytes));
  return MakeUringDisk(std::move(file).Keep(), header.disk_bytes);
}

}  // namespace ebb
