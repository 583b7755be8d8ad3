// SPDX-License-Identifier: MIT
// What the guest says, one line each on the serial console:
//   EBB {json}          once a second: how far it is, what it has verified
//   EBB-WRONG ...       a page with wrong content; the first few only
//   EBB-FAIL reason     the workload cannot go on; the guest powers off
//   EBB-PROBE           this kernel boots (ebb.probe=1)
#pragma once

#include <atomic>
#include <cstdint>
#include <string_view>

#include "tests/guest/content.h"

namespace ebb::guest {

// What the workload has done so far. Threads add, the reporter reads.
struct Progress {
  std::atomic<bool> running = false;  // the fill is over
  std::atomic<uint64_t> filled_bytes = 0;
  std::atomic<uint64_t> verified_bytes = 0;
  std::atomic<uint64_t> wrong_bytes = 0;
  std::atomic<uint64_t> sweeps = 0;       // of memory
  std::atomic<uint64_t> disk_sweeps = 0;  // of all disks together
  std::atomic<uint64_t> hot_rewrites = 0;
};

void ReportProgress(const Progress& progress);

// Verifies one page, counts it, and reports it if it is wrong. `part` names where it lies.
void CheckPage(const PageId& id, const void* page, const char* part, Progress& progress);

void ReportProbe();

// Reports and ends this process; init then powers the guest off.
[[noreturn]] void Fail(std::string_view reason);

// As Fail, with errno's text behind the reason.
[[noreturn]] void FailErrno(std::string_view reason);

}  // namespace ebb::guest
