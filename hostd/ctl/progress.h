// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <string>

namespace ebb {

// "swap-out web   43 %  301.2 MiB of 700.0 MiB  52.1 MiB/s"; a rate only once there is one, and
// "nothing moved for 12 s" when that is the news.
std::string ProgressText(const std::string& what, uint64_t done_bytes, uint64_t total_bytes,
                         double elapsed_s, double stalled_s);

// A line on stderr that is written over again and again; nothing unless stderr is a terminal.
class ProgressLine {
 public:
  ProgressLine();
  ~ProgressLine() { Clear(); }
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  void Show(const std::string& text);
  void Clear();

 private:
  const bool is_terminal_;
  bool shown_ = false;
};

// While one exists, the first Ctrl-C only sets interrupted(); a second one ends the process.
class InterruptWatch {
 public:
  InterruptWatch();
  ~InterruptWatch();
  InterruptWatch(const InterruptWatch&) = delete;
  InterruptWatch& operator=(const InterruptWatch&) = delete;

  bool interrupted() const;
  // Returns early when interrupted.
  void Sleep(int ms) const;
};

}  // namespace ebb
