// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>

#include "absl/status/status.h"

namespace ebb {

// What a thread is for decides its scheduling; see design "Threads".
enum class ThreadRole {
  kFault,          // answers faults and moves pages: before everything else on its CPU
  kReclaim,        // compresses: only with CPU time nobody else wants
  kUrgentReclaim,  // the VM waits for it
};

// Names the calling thread (15 characters are kept) and sets its scheduling. Best effort.
void EnterThreadRole(const char* name, ThreadRole role);

// Joins a thread that was told to stop but may be blocked in a read: the file description of a
// userfaultfd belongs to QEMU too, which may have made it blocking. Interrupts the thread until it
// has set `ended`, the last thing it does.
void InterruptAndJoin(std::thread& thread, const std::atomic<bool>& ended);

// Each VM takes a few tens of descriptors: raises the soft limit to the hard one.
void RaiseFileLimit();
uint64_t FileLimit();

// Keeps the daemon's own memory from being swapped out, and makes it the first to get a CPU and the
// last to be killed.
absl::Status ProtectDaemon();

}  // namespace ebb
