// SPDX-License-Identifier: MIT
// CHECK is always on. It is for places where going on could hand a guest wrong bytes: the daemon
// dies instead, and the guest's threads stay blocked on their faults.
#pragma once

namespace ebb {

[[noreturn]] void CheckFailed(const char* file, int line, const char* condition,
                              const char* message);

}  // namespace ebb

#define EBB_CHECK(condition, message)                              \
  do {                                                             \
    if (!(condition)) [[unlikely]]                                 \
      ::ebb::CheckFailed(__FILE__, __LINE__, #condition, message); \
  } while (0)
