// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "tests/explorer/actor.h"
#include "tests/explorer/expectation.h"
#include "tests/explorer/explored_barrier.h"
#include "tests/explorer/scenario.h"
#include "tests/fakes/fake_guest_memory.h"

namespace ebb::explorer {

// The guest and QEMU: automata that touch the simulated kernel's memory, and know what must be
// there. Values are small numbers: 0 a fresh page, 1 what it held at first, one more for each
// write.
class Guest {
 public:
  Guest(const Scenario& scenario, FakeGuestMemory* kernel, ExploredBarrier* barrier);

  std::vector<std::unique_ptr<Actor>> MakeActors();

  bool exited() const { return exited_; }
  const Expectation& expected(PageIndex page) const { return expected_[page.value]; }
  // A thread read what it must not, so far; empty if none did.
  const std::string& wrong() const { return wrong_; }
  // A thread that waits, or has not got to its access.
  bool AllDone() const { return unfinished_ == 0; }
  uint64_t Fingerprint() const;

 private:
  class Part;
  class Access;
  class Device;
  class Balloon;
  class Signals;
  class MainLoop;
  class Exit;
  class Failure;
  class Zap;
  class ForeignWrite;

  Expectation& Expected(PageIndex page) { return expected_[page.value]; }

  const Scenario scenario_;
  FakeGuestMemory* const kernel_;
  ExploredBarrier* const barrier_;
  std::vector<Expectation> expected_;
  std::vector<FakeGuestMemory::ThreadId> threads_;
  int requests_in_flight_ = 0;
  int drained_requests_left_ = 0;  // that a running barrier waits for
  int unfinished_ = 0;
  bool exited_ = false;
  std::string wrong_;
};

}  // namespace ebb::explorer
