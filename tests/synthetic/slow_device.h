// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "hostd/base/mutex.h"
#include "tests/synthetic/direct_file.h"
#include "tests/synthetic/in_flight.h"
#include "tests/synthetic/slices.h"
#include "tests/synthetic/slow_tail.h"
#include "tests/synthetic/worker.h"

namespace ebb::synthetic {

// A disk that takes its time to write into guest memory: the pages of a request are pinned first,
// then look cold for as long as the test says, then the data arrives in what was pinned. Nothing
// but an I/O barrier sees this coming. Nobody else touches its pages.
class SlowDevice : public Worker {
 public:
  struct Parts {
    InFlight* in_flight;
    const DirectFile* disk;
  };
  SlowDevice(const Parts& parts, const Slices::Parts& slices_parts);

  // Asks for rounds of several requests at once, each of which takes `ns`. Thread-safe, as are the
  // next two.
  void AskFor(uint64_t rounds, int64_t ns);
  uint64_t rounds_to_do() const { return rounds_to_do_; }
  // Pages that requests have brought.
  uint64_t pages_read() const { return pages_read_; }

  void Fill() override;
  void RunOne() override;
  void VerifyAll() override;

 private:
  void RunRound();
  void ReadRun(size_t first, size_t pages, size_t request, uint32_t first_sector);
  void ExpectRun(size_t first, size_t pages, uint32_t first_sector);

  const Parts parts_;
  Slices slices_;
  Mistakes* const mistakes_;
  SlowTail tail_;
  size_t next_ = 0;

  std::atomic<uint64_t> rounds_to_do_{0};
  std::atomic<uint64_t> pages_read_{0};
  Mutex mutex_;
  CondVar asked_;
};

}  // namespace ebb::synthetic
