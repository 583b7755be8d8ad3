// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace ebb::synthetic {

// The command line of the synthetic VM.
struct Options {
  uint64_t ram_bytes = 0;
  uint64_t seed = 1;
  std::string qmp_path;
  std::string plugin;                         // libebb-qemu.so; empty: LD_PRELOAD loads it
  std::vector<std::string> plugin_arguments;  // socket=..., name=..., qmp=...
  std::vector<std::string> disk_folders;      // where a file that takes O_DIRECT may lie
  bool signals = false;                       // with a signal storm
  bool keep_own_memory = false;               // needs no more than it has, but for guest RAM
};

// Ends the process with a message on stderr if it makes no sense.
Options ParseOptions(int argc, char** argv);

}  // namespace ebb::synthetic
