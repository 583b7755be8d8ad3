// SPDX-License-Identifier: MIT
// Named points in the page protocol where a test can delay a thread, so that races are ordered
// without sleeps. Built with -Dtest_points=true; otherwise EBB_TEST_POINT compiles to nothing.
#pragma once

#ifdef EBB_TEST_POINTS

#include <cstdint>
#include <functional>
#include <string>

namespace ebb {

// Runs `action` on the calling thread whenever it passes the point `name`. An empty action removes
// it. Thread-safe; an action may block, but must not set or clear points.
void SetTestPoint(const std::string& name, std::function<void()> action);
// `what`: the number of the page or record that the point is about; 0 where it is about none.
void ReachTestPoint(const char* name, uint64_t what = 0);

// Has `observer` called at every point from now on, before the point's own action; null for nobody.
// Set it while no other thread runs.
using TestPointObserver = void (*)(const char* name, uint64_t what);
void ObserveTestPoints(TestPointObserver observer);

}  // namespace ebb

#define EBB_TEST_POINT(...) ::ebb::ReachTestPoint(__VA_ARGS__)
#else
#define EBB_TEST_POINT(...) \
  do {                      \
  } while (0)
#endif
