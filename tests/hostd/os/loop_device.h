// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <string>

#include "hostd/base/unique_fd.h"

namespace ebb {

// A block device whose content is a file. The kernel detaches it when the last descriptor of it is
// closed, so also when the test dies.
class LoopDevice {
 public:
  // Logical blocks of so many bytes.
  explicit LoopDevice(const std::string& file, uint32_t block_bytes = 512);

  // Empty where this machine has none, or none with such blocks; why() says why.
  const std::string& path() const { return path_; }
  const std::string& why() const { return why_; }

 private:
  std::string path_;
  std::string why_;
  UniqueFd device_;
};

}  // namespace ebb
