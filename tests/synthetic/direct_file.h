// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "hostd/base/unique_fd.h"
#include "tests/synthetic/content.h"

namespace ebb::synthetic {

// A disk: a file without a name, opened with O_DIRECT on a filesystem that moves the data between
// the device and the caller's own pages (tmpfs takes O_DIRECT too, and copies).
class DirectFile {
 public:
  // Tries the folders one after the other. Not valid if none will do.
  static DirectFile Create(const std::vector<std::string>& folders, size_t bytes);

  // Makes it hold what Stamp::Kind::kSectors says.
  void WriteSectors(const Content& content);

  bool valid() const { return fd_.valid(); }
  int fd() const { return fd_.get(); }
  uint32_t sectors() const { return sectors_; }
  // What offset and length of a request and its buffers must be a multiple of.
  size_t alignment() const { return alignment_; }
  const std::string& folder() const { return folder_; }

 private:
  UniqueFd fd_;
  uint32_t sectors_ = 0;
  size_t alignment_ = 0;
  std::string folder_;
};

}  // namespace ebb::synthetic
