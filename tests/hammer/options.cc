// SPDX-License-Identifier: MIT
#include "tests/hammer/options.h"

#include <getopt.h>

#include <cstdio>
#include <cstdlib>
#include <random>

namespace ebb::hammer {
namespace {

constexpr char kUsage[] =
    "usage: hammer --pages N [--operations N] [--seconds N] [--seed N] [--signals] [--delays]\n"
    "              [--both-tiers] [--slowness N] [--disk-folder DIR]...\n"
    "A guest with N pages checks every byte while ebbd's page protocol swaps it out and in.\n"
    "  --operations  on pages, at least (1000000)\n"
    "  --seconds     for that, at most (600)\n"
    "  --signals     with a signal storm\n"
    "  --delays      holds threads of the protocol up at test points\n"
    "  --both-tiers  a small pool, and a disk behind it, besides pages that do not compress\n"
    "  --slowness    of the machine: 10 where it is emulated (1)\n"
    "  --disk-folder where a file for direct I/O may lie (the working directory, /var/tmp)\n"
    "The last line says what happened. The exit status is 0 if no byte was wrong, nothing hung,\n"
    "and enough of everything was done.\n";

constexpr option kOptions[] = {
    {"pages", required_argument, nullptr, 'p'},
    {"operations", required_argument, nullptr, 'o'},
    {"seconds", required_argument, nullptr, 's'},
    {"seed", required_argument, nullptr, 'r'},
    {"signals", no_argument, nullptr, 'S'},
    {"delays", no_argument, nullptr, 'd'},
    {"both-tiers", no_argument, nullptr, 'b'},
    {"slowness", required_argument, nullptr, 'w'},
    {"disk-folder", required_argument, nullptr, 'f'},
    {},
};

// With fewer there is not one page of each sort.
constexpr uint64_t kFewestPages = 8;

[[noreturn]] void Usage() {
  std::fputs(kUsage, stderr);
  std::exit(2);
}

uint64_t Number(const char* text) {
  char* end = nullptr;
  const uint64_t number = std::strtoull(text, &end, 10);
  if (end == text || *end != '\0') Usage();
  return number;
}

}  // namespace

Options ParseOptions(int argc, char** argv) {
  Options options;
  options.guest.seed = std::random_device()();
  for (int c; (c = getopt_long(argc, argv, "", kOptions, nullptr)) != -1;) {
    switch (c) {
      case 'p':
        options.guest.pages = Number(optarg);
        break;
      case 'o':
        options.operations = Number(optarg);
        break;
      case 's':
        options.seconds = static_cast<int64_t>(Number(optarg));
        break;
      case 'r':
        options.guest.seed = Number(optarg);
        break;
      case 'S':
        options.guest.signals = true;
        break;
      case 'd':
        options.delays = true;
        break;
      case 'b':
        options.guest.both_tiers = true;
        break;
      case 'w':
        options.guest.slowness = static_cast<int64_t>(Number(optarg));
        break;
      case 'f':
        options.guest.disk_folders.emplace_back(optarg);
        break;
      default:
        Usage();
    }
  }
  if (optind != argc || options.guest.pages < kFewestPages || options.guest.slowness < 1) Usage();
  if (options.guest.disk_folders.empty()) options.guest.disk_folders = {".", "/var/tmp"};
  return options;
}

}  // namespace ebb::hammer
