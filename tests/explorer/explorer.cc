// SPDX-License-Identifier: MIT
#include "tests/explorer/explorer.h"

#include <absl/container/flat_hash_set.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <functional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "hostd/base/clock.h"
#include "hostd/base/units.h"
#include "tests/explorer/run_arena.h"
#include "tests/explorer/world.h"

namespace ebb::explorer {
namespace {

bool AnyCanStep(const World& world) {
  for (size_t actor = 0; actor < world.actors(); ++actor) {
    if (world.CanStep(actor)) return true;
  }
  return false;
}

struct FingerprintHash {
  size_t operator()(const World::Fingerprint& fingerprint) const { return fingerprint.low; }
};

// Depth first. A state cannot be copied: it is reached again by the steps that led there.
class Search {
 public:
  explicit Search(const Scenario& scenario) : scenario_(scenario) { running_ = this; }
  ~Search() { running_ = nullptr; }

  Exploration TryAll();
  Exploration TryAtRandom(uint64_t seed, double seconds);
  // Goes the last path again and tells it, step by step.
  void Tell(const std::function<void(const std::string&)>& tell) const;
  static const Search* running() { return running_; }

 private:
  // A state on the way to where the search is: the actors that can step, and which one does.
  struct Fork {
    std::vector<uint8_t> actors;
    size_t chosen = 0;
  };

  void RunFromTheStart();
  void WalkToTheEnd(std::mt19937_64* random);
  bool Arrive(World* world);
  bool NextPath();
  void NoteWrong(const std::string& wrong);
  void NoteEnd(int64_t began_ns);

  static const Search* running_;

  const Scenario scenario_;
  std::vector<Fork> path_;
  absl::flat_hash_set<World::Fingerprint, FingerprintHash> seen_;
  Exploration result_;
};

const Search* Search::running_ = nullptr;

Exploration Search::TryAll() {
  const int64_t began_ns = MonotonicNs();
  do {
    RunFromTheStart();
  } while (result_.wrong.empty() && NextPath());
  NoteEnd(began_ns);
  return result_;
}

Exploration Search::TryAtRandom(uint64_t seed, double seconds) {
  std::mt19937_64 random(seed);
  const int64_t began_ns = MonotonicNs();
  while (result_.wrong.empty() && MonotonicNs() - began_ns < seconds * kNsPerS) {
    WalkToTheEnd(&random);
  }
  NoteEnd(began_ns);
  return result_;
}

void Search::NoteEnd(int64_t began_ns) {
  result_.states = seen_.size();
  result_.seconds = static_cast<double>(MonotonicNs() - began_ns) / kNsPerS;
  if (result_.wrong.empty()) return;
  Tell([this](const std::string& line) { result_.wrong += "\n" + line; });
}

// Steps along the path, and on from its end until nothing new comes.
void Search::RunFromTheStart() {
  const RunArena arena;
  World world(scenario_);
  for (const Fork& fork : path_) world.Step(fork.actors[fork.chosen]);
  while (Arrive(&world)) {
    const Fork& fork = path_.back();
    world.Step(fork.actors[fork.chosen]);
  }
}

// Stays with an actor for three steps on average: a thread that is left alone for long, or gets
// far by itself, is what most mistakes need.
void Search::WalkToTheEnd(std::mt19937_64* random) {
  path_.clear();
  const RunArena arena;
  World world(scenario_);
  size_t last = 0;
  while (result_.wrong.empty() && AnyCanStep(world)) {
    const bool stay = world.CanStep(last) && (*random)() % 3 != 0;
    while (!stay && !world.CanStep(last = (*random)() % world.actors())) {
    }
    {
      const OutsideArena outside;
      path_.push_back({{static_cast<uint8_t>(last)}, 0});
    }
    world.Step(last);
    ++result_.steps;
    NoteWrong(world.WrongNow());
  }
  if (result_.wrong.empty()) NoteWrong(world.WrongAtTheEnd());
  ++result_.ends;
  result_.deepest = std::max<uint64_t>(result_.deepest, path_.size());
}

// Looks at where it has come to; true when there is a step to take from here.
bool Search::Arrive(World* world) {
  ++result_.steps;
  NoteWrong(world->WrongNow());
  const World::Fingerprint fingerprint = world->TakeFingerprint();
  const bool at_end = !AnyCanStep(*world);
  if (at_end && result_.wrong.empty()) NoteWrong(world->WrongAtTheEnd());

  const OutsideArena outside;
  if (!result_.wrong.empty() || !seen_.insert(fingerprint).second) return false;
  if (at_end) {
    ++result_.ends;
    return false;
  }
  Fork fork;
  for (size_t actor = 0; actor < world->actors(); ++actor) {
    if (world->CanStep(actor)) fork.actors.push_back(static_cast<uint8_t>(actor));
  }
  path_.push_back(std::move(fork));
  result_.deepest = std::max<uint64_t>(result_.deepest, path_.size());
  return true;
}

void Search::NoteWrong(const std::string& wrong) {
  const OutsideArena outside;
  result_.wrong = std::string_view(wrong);
}

// The next choice at the last fork that has one left.
bool Search::NextPath() {
  while (!path_.empty()) {
    if (++path_.back().chosen < path_.back().actors.size()) return true;
    path_.pop_back();
  }
  return false;
}

void Search::Tell(const std::function<void(const std::string&)>& tell) const {
  World world(scenario_);
  for (const Fork& fork : path_) {
    const size_t actor = fork.actors[fork.chosen];
    const std::string step = world.Describe(actor);
    tell("  " + step);
    world.Step(actor);
    tell("     " + world.Describe());
  }
}

// The daemon has ended itself: by what steps is all there is to tell.
void TellOnAbort(int) {
  const Search* search = Search::running();
  if (search == nullptr) return;
  search->Tell([](const std::string& line) { std::fprintf(stderr, "%s\n", line.c_str()); });
}

}  // namespace

namespace {

void TellIfTheDaemonEndsItself() {
  struct sigaction once = {};
  once.sa_handler = TellOnAbort;
  once.sa_flags = static_cast<int>(SA_RESETHAND | SA_NODEFER);
  sigaction(SIGABRT, &once, nullptr);
}

}  // namespace

Exploration Explore(const Scenario& scenario) {
  TellIfTheDaemonEndsItself();
  return Search(scenario).TryAll();
}

Exploration WalkAtRandom(const Scenario& scenario, uint64_t seed, double seconds) {
  TellIfTheDaemonEndsItself();
  return Search(scenario).TryAtRandom(seed, seconds);
}

}  // namespace ebb::explorer
