// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "hostd/base/unique_fd.h"
#include "hostd/base/units.h"

namespace ebb {

// A file or a block device that has been opened for direct I/O, and that no other ebbd can open as
// long as this, or what came of Keep(), is open. All calls wait for the disk. Every error names the
// path and says what to do. Move-only.
class DiskFile {
 public:
  // A file must be a regular one of our own; where none is, an empty one is made, with mode 0600. A
  // block device must be in no other use, and have logical blocks of at most 4 KiB.
  static absl::StatusOr<DiskFile> Open(const std::string& path);

  DiskFile(DiskFile&& other) noexcept;
  DiskFile& operator=(DiskFile&&) = delete;
  // A file that was not there is removed again, unless it was kept.
  ~DiskFile();

  const std::string& path() const { return path_; }
  bool is_device() const { return is_device_; }
  uint64_t bytes() const { return bytes_; }

  // Its first `max_bytes`, a multiple of kPageBytes, or all if it has fewer.
  absl::StatusOr<std::vector<std::byte>> ReadStart(uint64_t max_bytes) const;
  // Is on the disk when it returns.
  absl::Status WriteStart(std::span<const std::byte, kPageBytes> block);
  // Sets the size of a file, and reserves all of its space. Not for devices.
  absl::Status Reserve(uint64_t bytes);
  // Nobody else can open a file from now on, except those who have it open. Not for devices.
  absl::Status MakePrivate();

  UniqueFd Keep() &&;

 private:
  DiskFile(std::string path, UniqueFd fd, bool is_device, bool is_new)
      : path_(std::move(path)), fd_(std::move(fd)), is_device_(is_device), is_new_(is_new) {}

  absl::Status CheckFile();
  absl::Status CheckDevice();
  absl::Status Lock();
  absl::Status CheckSpace(uint64_t bytes) const;

  std::string path_;
  UniqueFd fd_;
  bool is_device_;
  bool is_new_;
  uint64_t bytes_ = 0;
};

}  // namespace ebb
