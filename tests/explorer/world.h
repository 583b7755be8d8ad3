// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "hostd/swap/fault_server.h"
#include "hostd/swap/reclaim.h"
#include "hostd/swap/swap_in.h"
#include "hostd/swap/swap_state.h"
#include "tests/explorer/actor.h"
#include "tests/explorer/explored_barrier.h"
#include "tests/explorer/guest.h"
#include "tests/explorer/scenario.h"
#include "tests/explorer/seen.h"
#include "tests/explorer/yielding_memory.h"
#include "tests/fakes/fake_guest_memory.h"

namespace ebb::explorer {

// One VM with all that a scenario lets happen to it: ebbd's own code on fibers, a simulated kernel,
// and guest threads, a device, a balloon and QEMU as automata. Deterministic: where it stands is
// decided by which actors stepped in which order.
class World {
 public:
  explicit World(const Scenario& scenario);

  size_t actors() const { return actors_.size(); }
  bool CanStep(size_t actor) const { return actors_[actor]->CanStep(); }
  void Step(size_t actor) { actors_[actor]->Step(); }
  // What the actor's next step does.
  std::string Describe(size_t actor) const { return actors_[actor]->Describe(); }
  // Where everything stands, for people.
  std::string Describe() const;

  // Equal where everything that can still happen is equal.
  struct Fingerprint {
    uint64_t high;
    uint64_t low;
    bool operator==(const Fingerprint&) const = default;
  };
  Fingerprint TakeFingerprint();

  // What is wrong, were ebbd to die here and the next one to go on by the rules of
  // docs/FAILURE_MODEL.md; empty if nothing is.
  std::string WrongNow();
  // What is wrong once nobody can step any more.
  std::string WrongAtTheEnd();

 private:
  void AddFaultThread();
  void AddReclaim();
  void AddPrefetch();
  std::string WrongPage(PageIndex page);
  std::string WrongRecord(PageIndex page, PageWord word);
  std::string WrongRecords();

  const Scenario scenario_;
  FakeGuestMemory kernel_;
  YieldingMemory memory_;
  std::vector<std::byte> words_;
  std::vector<std::byte> records_;
  SwapState state_;
  Likeness likeness_;
  Residency residency_;
  ExploredBarrier barrier_;
  std::function<uint64_t()> fingerprint_mover_;
  Guest guest_;
  std::vector<std::unique_ptr<Actor>> actors_;
};

}  // namespace ebb::explorer
