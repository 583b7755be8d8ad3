// SPDX-License-Identifier: MIT
#include "tests/bench/lookup_figures.h"

#include <time.h>

#include <algorithm>
#include <array>
#include <latch>
#include <memory>
#include <numeric>
#include <random>
#include <span>
#include <thread>
#include <vector>

#include "hostd/base/check.h"
#include "hostd/base/status_macros.h"
#include "hostd/base/units.h"
#include "hostd/swap/shared_swap_state.h"
#include "tests/bench/figure.h"

namespace ebb::bench {
namespace {

// Neighbours that were swapped out together: they have neighbouring records.
constexpr uint64_t kRunPages = 16;

// Where nothing is, but no two pages have the same.
SwapLocation MadeUpLocation(uint64_t page) {
  return SwapLocation::InPool(Codec::kLz4, 2048, PoolHandle{page * 64});
}

void MakeSwapped(SwapState* state, PageIndex page) {
  PageWords& words = state->words();
  PageWord word = words.Load(page);
  const auto id = state->table().Allocate({MadeUpLocation(page.value), 0});
  EBB_CHECK(id.has_value(), "there are fewer records than pages");
  for (const PageState next :
       {PageState::kCooling, PageState::kGuarded, PageState::kSwappingOut, PageState::kDropping}) {
    word = *words.TryMove(page, word, next, *id);
  }
  words.Leave(page, PageState::kSwapped, *id);
}

// All pages swapped, in runs that were taken in random order.
void SwapOutAll(SwapState* state, std::mt19937_64* random) {
  const uint64_t pages = state->words().pages();
  std::vector<uint64_t> runs((pages + kRunPages - 1) / kRunPages);
  std::iota(runs.begin(), runs.end(), 0);
  std::shuffle(runs.begin(), runs.end(), *random);
  for (const uint64_t run : runs) {
    const uint64_t end = std::min(pages, (run + 1) * kRunPages);
    for (uint64_t page = run * kRunPages; page < end; ++page) MakeSwapped(state, {page});
  }
}

// Each lookup begins when the one before has ended, as for faults of one thread: which page comes
// next depends, as far as the CPU knows, on what was found. `nothing` is 0.
uint64_t LookUp(SwapState* state, std::span<const uint32_t> order, uint64_t nothing) {
  uint64_t found = 0;
  for (const uint32_t page : order) {
    const PageWord word = state->words().Load({page ^ (found & nothing)});
    found = state->table().Load(word.swap_id()).location.bits();
  }
  return found;
}

// What the host's other work takes away does not count.
int64_t ThreadCpuNs() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return int64_t{now.tv_sec} * kNsPerS + now.tv_nsec;
}

// Nanoseconds a lookup, in the slowest of `threads` threads, which look up different pages.
double LookUpNs(SwapState* state, const std::vector<uint32_t>& order, size_t threads) {
  static volatile uint64_t nothing = 0;
  const size_t share = order.size() / threads;
  std::latch start(static_cast<ptrdiff_t>(threads));
  std::vector<int64_t> took_ns(threads);
  const auto run = [&](size_t thread) {
    const std::span<const uint32_t> pages(order.data() + thread * share, share);
    start.arrive_and_wait();
    const int64_t began_ns = ThreadCpuNs();
    const uint64_t found = LookUp(state, pages, nothing);
    took_ns[thread] = ThreadCpuNs() - began_ns;
    EBB_CHECK(found != 0, "a swapped page has an empty record");
  };
  std::vector<std::thread> others;
  for (size_t thread = 1; thread < threads; ++thread) others.emplace_back(run, thread);
  run(0);
  for (std::thread& other : others) other.join();
  const int64_t slowest_ns = *std::max_element(took_ns.begin(), took_ns.end());
  return static_cast<double>(slowest_ns) / static_cast<double>(share);
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

}  // namespace

absl::Status MeasureLookups(uint64_t pages, int rounds, uint64_t seed) {
  SayProgress("looking records up");
  std::mt19937_64 random(seed);
  EBB_ASSIGN_OR_RETURN(const std::unique_ptr<SharedSwapState> shared,
                       SharedSwapState::Create(pages));
  SwapState* state = &shared->state();
  SwapOutAll(state, &random);
  std::vector<uint32_t> order(pages);
  std::iota(order.begin(), order.end(), 0);
  std::shuffle(order.begin(), order.end(), random);

  std::array<std::vector<double>, 2> ns;
  for (int round = 0; round <= rounds; ++round) {
    for (const size_t threads : {1, 2}) {
      const double took_ns = LookUpNs(state, order, threads);
      // The first one only touches everything.
      if (round > 0) ns[threads - 1].push_back(took_ns);
    }
  }
  SayFigure("lookup_ns", Median(ns[0]), "ns");
  SayFigure("lookup_2_threads_ns", Median(ns[1]), "ns");
  return absl::OkStatus();
}

}  // namespace ebb::bench
