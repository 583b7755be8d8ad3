// SPDX-License-Identifier: MIT
// content_ratio SEED PAGES: prints the LZ4 ratio of the workload's content, for ./run's summary.
#include <cstdio>
#include <cstdlib>

#include "tests/guest/content_sample.h"

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: content_ratio SEED PAGES\n");
    return 2;
  }
  const uint64_t seed = std::strtoull(argv[1], nullptr, 10);
  const uint64_t pages = std::strtoull(argv[2], nullptr, 10);
  std::printf("%.4f\n", ebb::guest::SampleContent(seed, pages).ratio());
  return 0;
}
