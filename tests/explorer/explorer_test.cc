// SPDX-License-Identifier: MIT
// Every order in which the daemon's threads, the guest's threads, a device, the balloon and QEMU
// can get on, with the daemon dying at any moment: the cast of each test is small enough to try
// them all.
#include "tests/explorer/explorer.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>

namespace ebb::explorer {
namespace {

struct Cast {
  const char* name;
  Scenario scenario;
};

void ExpectRight(const Scenario& scenario, uint64_t least_states) {
  const Exploration exploration = Explore(scenario);
  EXPECT_EQ(exploration.wrong, "");
  // Of a world in which nothing happens all would be right, too.
  EXPECT_GE(exploration.states, least_states);
  std::printf("%lu states, %lu steps, %lu ends, %lu steps deep, %.1f s\n", exploration.states,
              exploration.steps, exploration.ends, exploration.deepest, exploration.seconds);
}

std::string NameOf(const testing::TestParamInfo<Cast>& cast) { return cast.param.name; }

// Casts that have more orders than can be tried: as many at random as there is time for.
class ExplorerWalkTest : public testing::TestWithParam<Cast> {};

TEST_P(ExplorerWalkTest, RandomOrdersAreRight) {
  const char* given_seed = std::getenv("EBB_EXPLORER_SEED");
  const char* given_seconds = std::getenv("EBB_EXPLORER_SECONDS");
  const uint64_t seed =
      given_seed != nullptr ? std::strtoull(given_seed, nullptr, 10) : std::random_device()();
  const double seconds = given_seconds != nullptr ? std::atof(given_seconds) : 5;
  std::printf("EBB_EXPLORER_SEED=%lu\n", seed);
  const Exploration exploration = WalkAtRandom(GetParam().scenario, seed, seconds);
  EXPECT_EQ(exploration.wrong, "");
  EXPECT_GT(exploration.ends, 100u);
  std::printf("%lu walks, %lu steps, %lu steps long at most\n", exploration.ends, exploration.steps,
              exploration.deepest);
}

constexpr Scenario kEverything = {.readers = 2,
                                  .writers = 2,
                                  .devices = 1,
                                  .discards = 1,
                                  .signals = 1,
                                  .reclaimers = 2,
                                  .passes = 6,
                                  .barriers = 3,
                                  .zaps = 1,
                                  .prefetchers = 1,
                                  .refused_fills = 1,
                                  .failed_punches = 1,
                                  .lost_protections = 1};

Scenario EverythingAndMover() {
  Scenario scenario = kEverything;
  scenario.has_mover = true;
  return scenario;
}

Scenario EverythingOnTwoPages() {
  Scenario scenario = kEverything;
  scenario.pages = 2;
  scenario.qemu_exits = true;
  return scenario;
}

INSTANTIATE_TEST_SUITE_P(FullCast, ExplorerWalkTest,
                         testing::Values(Cast{"OnePage", EverythingAndMover()},
                                         Cast{"TwoPages", EverythingOnTwoPages()}),
                         NameOf);

// Casts small enough to try every order.
class ExplorerTest : public testing::TestWithParam<Cast> {};

TEST_P(ExplorerTest, EveryOrderIsRight) { ExpectRight(GetParam().scenario, 100); }

INSTANTIATE_TEST_SUITE_P(
    OnePage, ExplorerTest,
    testing::Values(
        Cast{"TwoReaders", {.readers = 2, .reclaimers = 1}},
        Cast{"ReaderAndWriter", {.readers = 1, .writers = 1, .reclaimers = 1}},
        Cast{"ReaderAndDevice", {.readers = 1, .devices = 1, .reclaimers = 1}},
        Cast{"DeviceAndEagerReclaim", {.devices = 1, .reclaimers = 1, .passes = 5, .eager = true}},
        Cast{"DeviceAndZap", {.devices = 1, .reclaimers = 1, .barrier_wanted = true, .zaps = 1}},
        Cast{"ReaderAndDiscard", {.readers = 1, .discards = 1, .reclaimers = 1}},
        Cast{"FirstTouchAndDiscard",
             {.populated = false, .readers = 1, .writers = 1, .discards = 1, .reclaimers = 0}},
        Cast{"ReaderAndTwoReclaimers", {.readers = 1, .reclaimers = 2}},
        Cast{"WriterSignalAndExit",
             {.writers = 1, .signals = 1, .reclaimers = 1, .qemu_exits = true}},
        Cast{"ReaderSignalAndPrefetch",
             {.readers = 1, .signals = 1, .reclaimers = 1, .prefetchers = 1}},
        Cast{"DiscardAndPrefetch", {.discards = 1, .reclaimers = 1, .prefetchers = 1}},
        Cast{"ReaderAndNoMemory", {.readers = 1, .reclaimers = 1, .refused_fills = 1}},
        Cast{"WriterAndFailedPunch", {.writers = 1, .reclaimers = 1, .failed_punches = 1}},
        Cast{"WriterAndLostProtection", {.writers = 1, .reclaimers = 1, .lost_protections = 1}},
        Cast{"DiscardPrefetchAndFailedPunch",
             {.discards = 1, .reclaimers = 1, .prefetchers = 1, .failed_punches = 1}},
        // Nobody reads: a reader of the kernel's could see the foreign page, as in a real one.
        Cast{"PrefetchAndForeignWrite",
             {.reclaimers = 1, .zaps = 2, .foreign_writes = 1, .prefetchers = 1}},
        Cast{"ReaderPrefetchAndExit",
             {.readers = 1, .reclaimers = 1, .prefetchers = 1, .qemu_exits = true}}),
    NameOf);

// A second or more for each. Not under sanitizers: a run leaves its memory behind there.
INSTANTIATE_TEST_SUITE_P(
    OnePageInSeconds, ExplorerTest,
    testing::Values(
        Cast{"TwoReadersAndWriter", {.readers = 2, .writers = 1, .reclaimers = 1}},
        Cast{"TwoWriters", {.writers = 2, .reclaimers = 1}},
        Cast{"WriterAndDevice", {.writers = 1, .devices = 1, .reclaimers = 1}},
        Cast{"DeviceAndDiscard", {.devices = 1, .discards = 1, .reclaimers = 1}},
        Cast{"WriterAndDiscard", {.writers = 1, .discards = 1, .reclaimers = 1}},
        Cast{"WriterAndMover",
             {.writers = 1, .reclaimers = 1, .passes = 8, .barriers = 3, .has_mover = true}}),
    NameOf);

INSTANTIATE_TEST_SUITE_P(
    TwoPages, ExplorerTest,
    testing::Values(Cast{"TwoReaders", {.pages = 2, .readers = 2, .reclaimers = 1}},
                    Cast{"Writer", {.pages = 2, .writers = 1, .reclaimers = 1}},
                    Cast{"Discard", {.pages = 2, .discards = 1, .reclaimers = 1}}),
    NameOf);

}  // namespace
}  // namespace ebb::explorer
