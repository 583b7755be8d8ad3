// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>

#include "qemu-plugin/owned_fd.h"

namespace ebb::plugin {

// Reads a file of /proc record by record (lines, or the NUL-separated words of a command line)
// through a small buffer of its own: no heap, no stdio.
class RecordReader {
 public:
  RecordReader(const char* path, char delimiter);

  bool is_open() const { return file_.valid(); }

  // The next record without its delimiter, NUL-terminated and cut to `size` - 1 bytes. False at
  // the end of the file or when it cannot be read.
  bool Next(char* record, size_t size);

 private:
  bool Refill();

  OwnedFd file_;
  char delimiter_;
  char buffer_[4096];  // /proc gives no more at once
  size_t used_ = 0;
  size_t filled_ = 0;
};

}  // namespace ebb::plugin
