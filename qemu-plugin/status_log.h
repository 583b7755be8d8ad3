// SPDX-License-Identifier: MIT
// Lines on QEMU's stderr, which libvirt keeps as the VM's log. Never stdout: a monitor or a guest
// console may live there.
#pragma once

#include <cstdint>

namespace ebb::plugin {

// One line, "ebb: <text>\n", in one write.
__attribute__((format(printf, 1, 2))) void WriteLine(const char* format, ...);

// What the session is doing, said when it changes: a text equal to the last one is not repeated,
// and of a flapping peer no more than kLinesPerMinute get through. Used by one thread.
class StatusLog {
 public:
  static constexpr uint32_t kLinesPerMinute = 12;

  __attribute__((format(printf, 2, 3))) void Say(const char* format, ...);

 private:
  bool MayWrite();

  char last_[512] = {};
  int64_t minute_ = 0;
  uint32_t lines_this_minute_ = 0;
};

}  // namespace ebb::plugin
