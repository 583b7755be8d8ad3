// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <string_view>

namespace ebb::guest {

// What ./run asks of the guest, each as ebb.NAME=VALUE on the kernel's command line.
struct Parameters {
  bool probe = false;  // only say that this kernel boots, and power off
  uint64_t seed = 1;
  uint64_t fill_mib = 600;   // anonymous memory
  uint64_t churn_mib = 0;    // beside fill_mib: filled, kept, verified, given back, again and again
  uint64_t churn_s = 8;      // kept and given back for so long
  uint64_t disks = 1;        // /dev/vda, /dev/vdb, ...: at most 26
  uint64_t disk_mib = 100;   // of each, through the page cache
  uint64_t hot_mib = 64;     // of fill_mib: read and rewritten all the time
  uint64_t fill_mib_s = 50;  // rates are upper bounds
  uint64_t sweep_mib_s = 16;
  uint64_t disk_mib_s = 4;  // of each
  uint64_t hot_mib_s = 16;
};

Parameters ParseParameters(std::string_view command_line);

}  // namespace ebb::guest
