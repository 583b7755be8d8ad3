// SPDX-License-Identifier: MIT
#pragma once

#include <functional>
#include <memory>

namespace ebb::explorer {

// A thread of ebbd that runs only when it is told to, up to the next place where it yields: so that
// a test decides in which order threads get on. All of them run on one thread of the kernel's.
class Fiber {
 public:
  explicit Fiber(std::function<void()> body);
  // Leaves a body that has not ended where it is: its stack is used again, nothing is unwound.
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // Runs the body until it yields or ends.
  void Resume();
  bool ended() const;

  // Inside a body: back to whoever called Resume.
  static void Yield();
  // The fiber that runs now; null outside of all.
  static Fiber* Current();

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

}  // namespace ebb::explorer
