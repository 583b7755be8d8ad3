// SPDX-License-Identifier: MIT
#include "qemu-plugin/record_reader.h"

#include <errno.h>
#include <fcntl.h>

namespace ebb::plugin {

RecordReader::RecordReader(const char* path, char delimiter)
    : file_(open(path, O_RDONLY | O_CLOEXEC)), delimiter_(delimiter) {}

bool RecordReader::Refill() {
  ssize_t got;
  do {
    got = read(file_.get(), buffer_, sizeof buffer_);
  } while (got < 0 && errno == EINTR);
  used_ = 0;
  filled_ = got > 0 ? static_cast<size_t>(got) : 0;
  return filled_ > 0;
}

bool RecordReader::Next(char* record, size_t size) {
  if (!is_open()) return false;
  size_t length = 0;
  bool any = false;
  while (used_ < filled_ || Refill()) {
    any = true;
    char c = buffer_[used_++];
    if (c == delimiter_) break;
    if (length + 1 < size) record[length++] = c;
  }
  record[length] = '\0';
  return any;
}

}  // namespace ebb::plugin
