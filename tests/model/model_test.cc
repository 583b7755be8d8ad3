// SPDX-License-Identifier: MIT
// Thousands of random lives of a VM, each checked against a map of what the guest wrote. What fails
// is made as short as it can be, and printed. EBB_MODEL_SEED runs one seed, EBB_MODEL_SEEDS so
// many.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "tests/model/engine.h"
#include "tests/model/operation.h"
#include "tests/model/shrink.h"

namespace ebb::model {
namespace {

constexpr size_t kOperations = 500;
constexpr uint64_t kSeeds = 2000;

uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* value = std::getenv(name);
  return value != nullptr ? std::strtoull(value, nullptr, 10) : otherwise;
}

bool HasDisk(uint64_t seed) { return seed % 2 == 1; }

// What goes wrong with them, in a process of its own: a broken engine may end that.
std::optional<std::string> WhatFails(uint64_t seed, const std::vector<Operation>& operations) {
  std::array<int, 2> ends;
  if (pipe(ends.data()) != 0) return "pipe() fails";
  const pid_t child = fork();
  if (child == 0) {
    const std::string wrong = Engine(HasDisk(seed)).Run(operations).value_or("");
    _exit(write(ends[1], wrong.data(), wrong.size()) < 0 || !wrong.empty() ? 1 : 0);
  }
  close(ends[1]);
  std::array<char, 200> said;
  const ssize_t length = read(ends[0], said.data(), said.size());
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  if (status == 0) return std::nullopt;
  return length > 0 ? std::string(said.data(), static_cast<size_t>(length))
                    : "the daemon ends itself";
}

// Seeds [first, first + count) in one process; the first that fails.
std::optional<uint64_t> FirstFailure(uint64_t first, uint64_t count) {
  const pid_t child = fork();
  if (child == 0) {
    for (uint64_t seed = first; seed < first + count; ++seed) {
      if (Engine(HasDisk(seed)).Run(RandomOperations(seed, kOperations, Engine::kPages))) _exit(1);
    }
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  if (status == 0) return std::nullopt;
  for (uint64_t seed = first; seed < first + count; ++seed) {
    if (WhatFails(seed, RandomOperations(seed, kOperations, Engine::kPages))) return seed;
  }
  return first;
}

TEST(EngineModel, GuestReadsWhatItWroteWhateverHappensToItsPages) {
  constexpr uint64_t kTogether = 100;
  const uint64_t only = FromEnvironment("EBB_MODEL_SEED", 0);
  const uint64_t first = only != 0 ? only : std::random_device()();
  const uint64_t seeds = only != 0 ? 1 : FromEnvironment("EBB_MODEL_SEEDS", kSeeds);
  std::printf("[   info   ] seeds %ju to %ju\n", static_cast<uintmax_t>(first),
              static_cast<uintmax_t>(first + seeds - 1));
  for (uint64_t seed = first; seed < first + seeds; seed += kTogether) {
    const std::optional<uint64_t> failed =
        FirstFailure(seed, std::min(kTogether, first + seeds - seed));
    if (!failed) continue;
    const auto operations = RandomOperations(*failed, kOperations, Engine::kPages);
    const auto shortest = Shrink(operations, [failed](const std::vector<Operation>& tried) {
      return WhatFails(*failed, tried).has_value();
    });
    ADD_FAILURE() << "seed " << *failed << ": "
                  << WhatFails(*failed, operations).value_or("(not again)")
                  << "\nThe shortest that fails: "
                  << WhatFails(*failed, shortest).value_or("(not again)") << "\n"
                  << Describe(shortest);
    return;
  }
}

TEST(EngineModel, VmThatGoesAtAnyMomentLeavesNothingOnTheDisk) {
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    const auto operations = RandomOperations(seed, kOperations, Engine::kPages);
    const std::span some = std::span(operations).first(seed * kOperations / 200);
    ASSERT_EQ(Engine(true).RunAndGo(some), std::nullopt) << "seed " << seed;
  }
}

TEST(EngineModel, RandomLivesReachEveryPartOfTheEngine) {
  uint64_t swapped_in = 0;
  uint64_t given_back = 0;
  uint64_t discarded = 0;
  uint64_t moved = 0;
  uint64_t incompressible = 0;
  uint64_t held = 0;
  uint64_t disk_reads = 0;
  uint64_t disk_writes = 0;
  uint64_t read_ahead = 0;
  for (uint64_t seed = 1; seed <= 100; ++seed) {
    Engine engine(HasDisk(seed));
    ASSERT_EQ(engine.Run(RandomOperations(seed, kOperations, Engine::kPages)), std::nullopt);
    swapped_in += engine.state().stats().swapped_in;
    given_back += engine.state().stats().given_back;
    discarded += engine.state().stats().discarded;
    moved += engine.state().pool().stats().moved_bytes;
    incompressible += engine.state().incompressible().pages();
    held += engine.times_held();
    disk_reads += engine.disk().reads();
    disk_writes += engine.disk().writes();
    read_ahead += engine.state().stats().read_ahead;
  }
  EXPECT_GT(swapped_in, 1000u);
  EXPECT_GT(given_back, 1000u);
  EXPECT_GT(discarded, 100u);
  EXPECT_GT(moved, 10'000u);
  EXPECT_GT(incompressible, 100u);
  EXPECT_GT(held, 10u);
  EXPECT_GT(disk_reads, 500u);
  EXPECT_GT(disk_writes, 200u);
  EXPECT_GT(read_ahead, 50u);
}

TEST(Shrink, LeavesOutWhatIsNotNeeded) {
  const auto operations = RandomOperations(3, 500, 10);
  const auto two_writes = [](const std::vector<Operation>& tried) {
    return std::count_if(tried.begin(), tried.end(), [](const Operation& operation) {
             return operation.kind == Operation::Kind::kWrite && operation.page == 4;
           }) >= 2;
  };
  ASSERT_TRUE(two_writes(operations));
  EXPECT_EQ(Shrink(operations, two_writes).size(), 2u);
}

}  // namespace
}  // namespace ebb::model
