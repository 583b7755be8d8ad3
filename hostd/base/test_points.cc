// SPDX-License-Identifier: MIT
#include "hostd/base/test_points.h"

#ifdef EBB_TEST_POINTS

#include <atomic>
#include <map>
#include <utility>

#include "hostd/base/mutex.h"
#include "hostd/base/wait_checks.h"

namespace ebb {
namespace {

struct Points {
  Mutex mutex{"test points"};
  std::map<std::string, std::function<void()>> actions ABSL_GUARDED_BY(mutex);
  std::atomic<bool> any{false};
};

TestPointObserver point_observer = nullptr;

Points& AllPoints() {
  static Points points;
  return points;
}

}  // namespace

void SetTestPoint(const std::string& name, std::function<void()> action) {
  Points& points = AllPoints();
  MutexLock lock(points.mutex);
  if (action) {
    points.actions[name] = std::move(action);
  } else {
    points.actions.erase(name);
  }
  points.any.store(!points.actions.empty());
}

void ObserveTestPoints(TestPointObserver observer) { point_observer = observer; }

void ReachTestPoint(const char* name, uint64_t what) {
  const AnotherThreadsWork of_the_test;
  if (point_observer != nullptr) point_observer(name, what);
  Points& points = AllPoints();
  if (!points.any.load(std::memory_order_relaxed)) return;
  std::function<void()> action;
  {
    MutexLock lock(points.mutex);
    auto found = points.actions.find(name);
    if (found != points.actions.end()) action = found->second;
  }
  if (action) action();
}

}  // namespace ebb

#endif
