// SPDX-License-Identifier: MIT
#include "tests/synthetic/options.h"

#include <getopt.h>

#include <cstdio>
#include <cstdlib>

#include "hostd/base/units.h"

namespace ebb::synthetic {
namespace {

constexpr char kUsage[] =
    "usage: qemu-system-synthetic --ram-mib N --qmp PATH [--seed N] [--disk-folder DIR]...\n"
    "         [--signals] [--keep-own-memory] [--plugin LIBRARY [--plugin-argument KEY=VALUE]...]\n"
    "Without --plugin the library comes by LD_PRELOAD. Obeys commands on stdin.\n";

constexpr option kOptions[] = {
    {"ram-mib", required_argument, nullptr, 'r'},
    {"seed", required_argument, nullptr, 's'},
    {"qmp", required_argument, nullptr, 'q'},
    {"plugin", required_argument, nullptr, 'p'},
    {"plugin-argument", required_argument, nullptr, 'a'},
    {"disk-folder", required_argument, nullptr, 'd'},
    {"keep-own-memory", no_argument, nullptr, 'k'},
    {"signals", no_argument, nullptr, 'S'},
    {},
};

[[noreturn]] void Usage() {
  std::fputs(kUsage, stderr);
  std::exit(2);
}

}  // namespace

Options ParseOptions(int argc, char** argv) {
  Options options;
  for (int c; (c = getopt_long(argc, argv, "", kOptions, nullptr)) != -1;) {
    switch (c) {
      case 'r':
        options.ram_bytes = std::strtoull(optarg, nullptr, 10) * kMiB;
        break;
      case 's':
        options.seed = std::strtoull(optarg, nullptr, 10);
        break;
      case 'q':
        options.qmp_path = optarg;
        break;
      case 'p':
        options.plugin = optarg;
        break;
      case 'a':
        options.plugin_arguments.emplace_back(optarg);
        break;
      case 'd':
        options.disk_folders.emplace_back(optarg);
        break;
      case 'k':
        options.keep_own_memory = true;
        break;
      case 'S':
        options.signals = true;
        break;
      default:
        Usage();
    }
  }
  if (optind != argc || options.ram_bytes < 16 * kMiB || options.qmp_path.empty()) Usage();
  return options;
}

}  // namespace ebb::synthetic
