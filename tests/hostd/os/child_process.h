// SPDX-License-Identifier: MIT
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>
#include <vector>

#include "hostd/base/unique_fd.h"

namespace ebb {

// A child that stands still until the end of its scope, when it is killed and reaped. Make it
// before the test starts threads: it forks.
class ChildProcess {
 public:
  // Runs `prepare` in the child; it is done when the constructor returns.
  explicit ChildProcess(const std::function<void()>& prepare);
  // A program that waits for its standard input, with these arguments (the first is its name).
  explicit ChildProcess(const std::vector<std::string>& arguments);
  ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  // -1 where the child did not get that far.
  pid_t pid() const { return ready_ ? pid_ : -1; }
  void Kill();

 private:
  void Start(const std::function<void()>& run);

  pid_t pid_ = -1;
  bool ready_ = false;
  UniqueFd standard_input_;  // our end of its pipe
};

}  // namespace ebb
