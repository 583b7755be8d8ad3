// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <string>

#include "tests/explorer/scenario.h"

namespace ebb::explorer {

struct Exploration {
  uint64_t states = 0;  // that differ
  uint64_t steps = 0;   // that were tried, each from one state
  uint64_t ends = 0;    // states in which nobody can go on
  uint64_t deepest = 0;
  double seconds = 0;
  // What went wrong, and the steps that lead there; empty if nothing did.
  std::string wrong;
};

// Tries every order in which the scenario's actors can step, from every state once. Ends at the
// first thing that is wrong. If ebbd ends itself, the steps so far are printed.
Exploration Explore(const Scenario& scenario);

// Takes orders at random, from the start to the end, for as long as `seconds`. `states` stays 0.
Exploration WalkAtRandom(const Scenario& scenario, uint64_t seed, double seconds);

}  // namespace ebb::explorer
