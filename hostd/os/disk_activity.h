// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "hostd/base/units.h"

namespace ebb {

// Tells whether the block devices behind a process's open files still complete requests, so that
// nobody starts to wait for a disk that does not (/sys/dev/block/*/inflight, stat). Filesystems
// without a block device of their own (network, btrfs) are not seen. Not thread-safe.
class DiskActivity {
 public:
  // `sys_folder` has a folder MAJOR:MINOR for each block device; tests bring their own.
  explicit DiskActivity(int pid, std::string sys_folder = "/sys/dev/block")
      : pid_(pid), sys_folder_(std::move(sys_folder)) {}

  // Begins to look: finds the disks, and what they have completed by now. Reads /proc/PID/fd.
  void Begin(int64_t now_ns);

  // Looks again. "8:0" of a disk that has requests in flight and was not seen to complete one
  // within the last kFreshNs, or empty: then all of them work, at the same time. A disk that works
  // completes a request within milliseconds, so look every few of them; between looks that are
  // further apart than kFreshNs nothing is seen. Reads two files of each disk.
  std::string Waiting(int64_t now_ns);

 private:
  static constexpr int64_t kFreshNs = 50 * kNsPerMs;

  struct Disk {
    uint64_t completed = 0;
    int64_t worked_ns = INT64_MIN;  // when it was idle, or had not yet completed what it then did
  };

  const int pid_;
  const std::string sys_folder_;
  std::map<std::string, Disk> disks_;  // by MAJOR:MINOR
  int64_t looked_ns_ = 0;
};

}  // namespace ebb
