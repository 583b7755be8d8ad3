// SPDX-License-Identifier: MIT
#include "hostd/ctl/progress.h"

#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "hostd/base/size.h"

namespace ebb {
namespace {

// Before this a rate is noise, and a pause no news.
constexpr double kMinRateSeconds = 0.5;
constexpr double kStalledSeconds = 5;

volatile sig_atomic_t interrupt_seen = 0;

void OnInterrupt(int) { interrupt_seen = 1; }

}  // namespace

std::string ProgressText(const std::string& what, uint64_t done_bytes, uint64_t total_bytes,
                         double elapsed_s, double stalled_s) {
  done_bytes = std::min(done_bytes, total_bytes);
  // Rounded down: 100 % is said only when all of it is done.
  const double percent =
      total_bytes == 0 ? 100
                       : 100 * static_cast<double>(done_bytes) / static_cast<double>(total_bytes);
  std::string text = absl::StrFormat("%s  %3d %%  %s of %s", what, static_cast<int>(percent),
                                     HumanSize(done_bytes), HumanSize(total_bytes));
  if (stalled_s >= kStalledSeconds) {
    absl::StrAppend(&text, "  nothing moved for ", HumanDuration(stalled_s));
  } else if (elapsed_s >= kMinRateSeconds && done_bytes > 0) {
    const double rate = static_cast<double>(done_bytes) / elapsed_s;
    absl::StrAppend(&text, "  ", HumanSize(static_cast<uint64_t>(rate)), "/s");
  }
  return text;
}

ProgressLine::ProgressLine() : is_terminal_(isatty(STDERR_FILENO) == 1) {}

void ProgressLine::Show(const std::string& text) {
  if (!is_terminal_) return;
  std::fprintf(stderr, "\r\033[K%s", text.c_str());
  std::fflush(stderr);
  shown_ = true;
}

void ProgressLine::Clear() {
  if (!shown_) return;
  std::fputs("\r\033[K", stderr);
  std::fflush(stderr);
  shown_ = false;
}

InterruptWatch::InterruptWatch() {
  interrupt_seen = 0;
  struct sigaction action = {};
  action.sa_handler = &OnInterrupt;
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  sigaction(SIGINT, &action, nullptr);
}

InterruptWatch::~InterruptWatch() { signal(SIGINT, SIG_DFL); }

bool InterruptWatch::interrupted() const { return interrupt_seen != 0; }

void InterruptWatch::Sleep(int ms) const {
  if (!interrupted()) poll(nullptr, 0, ms);
}

}  // namespace ebb
