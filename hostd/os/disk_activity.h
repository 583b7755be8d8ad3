// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <map>
#include <string>

namespace ebb {

// Watches the block devices behind a process's open files for requests that do not get done: a disk
// with requests in flight that has completed nothing for a while (/sys/dev/block/*/inflight, stat).
// Filesystems without a block device of their own (network, btrfs) are not
// seen. Not thread-safe.
class DiskActivity {
 public:
  explicit DiskActivity(int pid) : pid_(pid) {}

  // Looks at the disks; the answer is about what happened since earlier calls. Call it about once a
  // second: it reads a few files of /proc and /sys.
  void Sample(int64_t now_ns);

  // "8:0" of a disk that has had requests in flight and completed none for `stalled_ns`, or empty.
  std::string StalledFor(int64_t stalled_ns, int64_t now_ns) const;

 private:
  struct Disk {
    uint64_t completed = 0;
    uint64_t in_flight = 0;
    int64_t moved_ns = 0;  // when it was last idle or seen to complete something
  };

  const int pid_;
  std::map<std::string, Disk> disks_;  // by MAJOR:MINOR
};

}  // namespace ebb
