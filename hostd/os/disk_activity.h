// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <map>
#include <string>

namespace ebb {

// Tells whether the block devices behind a process's open files still complete requests, so that
// nobody starts to wait for a disk that does not (/sys/dev/block/*/inflight, stat). Filesystems
// without a block device of their own (network, btrfs) are not seen. Not thread-safe.
class DiskActivity {
 public:
  // `sys_folder` has a folder MAJOR:MINOR for each block device; tests bring their own.
  explicit DiskActivity(int pid, std::string sys_folder = "/sys/dev/block")
      : pid_(pid), sys_folder_(std::move(sys_folder)) {}

  // Begins a look: finds the disks, and what they have completed by now. Reads /proc/PID/fd.
  void Begin();

  // "8:0" of a disk that has requests in flight and has completed none since Begin(), or empty. A
  // disk that works completes one within milliseconds. Reads two files of each disk.
  std::string Waiting() const;

 private:
  const int pid_;
  const std::string sys_folder_;
  std::map<std::string, uint64_t> completed_;  // by MAJOR:MINOR, at Begin()
};

}  // namespace ebb
