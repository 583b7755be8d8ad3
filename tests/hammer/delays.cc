// SPDX-License-Identifier: MIT
#include "tests/hammer/delays.h"

#include <poll.h>

#include <atomic>
#include <cstring>
#include <ctime>

#include "hostd/base/test_points.h"
#include "hostd/base/units.h"
#include "tests/synthetic/random.h"

namespace ebb::hammer {
namespace {

// One passage in so many is held up. Words and records are looked at all the time.
constexpr uint64_t kEvery = 16;
constexpr uint64_t kEveryWord = 400;
constexpr uint64_t kMostDelayNs = 200 * kNsPerUs;
// One delay in so many is long enough for a page's whole way out.
constexpr uint64_t kEveryLong = 16;
constexpr uint64_t kMostLongDelayNs = 5 * kNsPerMs;

std::atomic<uint64_t> next_seed{1};

void HoldUp(const char* point, uint64_t) {
  thread_local synthetic::Random random(next_seed++);
  const bool is_word =
      std::strncmp(point, "word.", 5) == 0 || std::strncmp(point, "record.", 7) == 0;
  if (random.Below(is_word ? kEveryWord : kEvery) != 0) return;
  // Nothing comes: this is the delay. Others run meanwhile, as if this thread had lost its CPU.
  const uint64_t most_ns = random.Below(kEveryLong) == 0 ? kMostLongDelayNs : kMostDelayNs;
  const timespec delay = {0, static_cast<long>(random.Below(most_ns))};
  ppoll(nullptr, 0, &delay, nullptr);
}

}  // namespace

void StartDelays(uint64_t seed) {
  next_seed = seed;
  ObserveTestPoints(HoldUp);
}

}  // namespace ebb::hammer
