// SPDX-License-Identifier: MIT
// Measures ebbd's engine without a VM: memory that the pool and its records take, blocks of a disk,
// and lookups. For ./bench (tests/bench/engine.py); prints one JSON object a line (figure.h).
#include <getopt.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "absl/status/status.h"
#include "hostd/base/status_macros.h"
#include "tests/bench/disk_figures.h"
#include "tests/bench/lookup_figures.h"
#include "tests/bench/page_data.h"
#include "tests/bench/pool_figures.h"

namespace ebb::bench {
namespace {

constexpr char kUsage[] =
    "usage: engine --pages FILE --kinds FILE --stored FILE [--seed N] [--filled-pages N]\n"
    "              [--changed-pages N] [--lookup-pages N] [--rounds N]\n"
    "  --pages, --kinds  the data, of page_data.py\n"
    "  --stored          where to list the pages that were swapped out\n"
    "  --filled-pages    size of the guest that is swapped out (262144: 1 GiB)\n"
    "  --changed-pages   size of the one whose content changes (65536)\n"
    "  --lookup-pages    size of the one whose records are looked up (1048576)\n"
    "  --rounds          of lookups (9)\n";

constexpr option kOptions[] = {
    {"pages", required_argument, nullptr, 'p'},
    {"kinds", required_argument, nullptr, 'k'},
    {"stored", required_argument, nullptr, 's'},
    {"seed", required_argument, nullptr, 'r'},
    {"filled-pages", required_argument, nullptr, 'f'},
    {"changed-pages", required_argument, nullptr, 'c'},
    {"lookup-pages", required_argument, nullptr, 'l'},
    {"rounds", required_argument, nullptr, 'n'},
    {},
};

struct Options {
  std::string pages_path;
  std::string kinds_path;
  std::string stored_path;
  uint64_t seed = 1;
  uint64_t filled_pages = 262144;
  uint64_t changed_pages = 65536;
  uint64_t lookup_pages = 1048576;
  int rounds = 9;
};

[[noreturn]] void Usage() {
  std::fputs(kUsage, stderr);
  std::exit(2);
}

uint64_t PositiveNumber(const char* text) {
  char* end = nullptr;
  const uint64_t number = std::strtoull(text, &end, 10);
  if (end == text || *end != '\0' || number == 0) Usage();
  return number;
}

Options ParseOptions(int argc, char** argv) {
  Options options;
  for (int c; (c = getopt_long(argc, argv, "", kOptions, nullptr)) != -1;) {
    switch (c) {
      case 'p':
        options.pages_path = optarg;
        break;
      case 'k':
        options.kinds_path = optarg;
        break;
      case 's':
        options.stored_path = optarg;
        break;
      case 'r':
        options.seed = PositiveNumber(optarg);
        break;
      case 'f':
        options.filled_pages = PositiveNumber(optarg);
        break;
      case 'c':
        options.changed_pages = PositiveNumber(optarg);
        break;
      case 'l':
        options.lookup_pages = PositiveNumber(optarg);
        break;
      case 'n':
        options.rounds = static_cast<int>(PositiveNumber(optarg));
        break;
      default:
        Usage();
    }
  }
  if (optind != argc || options.pages_path.empty() || options.kinds_path.empty() ||
      options.stored_path.empty()) {
    Usage();
  }
  return options;
}

absl::Status Run(const Options& options) {
  {
    EBB_ASSIGN_OR_RETURN(const PageData data,
                         PageData::Read(options.pages_path, options.kinds_path));
    EBB_RETURN_IF_ERROR(MeasureFilledPool(data, options.filled_pages, options.stored_path));
    EBB_RETURN_IF_ERROR(MeasureChangedPool(data, options.changed_pages, options.seed));
    EBB_RETURN_IF_ERROR(MeasureDisk(data, options.seed));
  }
  return MeasureLookups(options.lookup_pages, options.rounds, options.seed);
}

}  // namespace
}  // namespace ebb::bench

int main(int argc, char** argv) {
  const absl::Status status = ebb::bench::Run(ebb::bench::ParseOptions(argc, argv));
  if (status.ok()) return 0;
  std::fprintf(stderr, "engine: %s\n", std::string(status.message()).c_str());
  return 1;
}
