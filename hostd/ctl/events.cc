// SPDX-License-Identifier: MIT
#include "hostd/ctl/events.h"

#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "hostd/ctl/progress.h"
#include "hostd/ctl/session.h"
#include "hostd/ctl/views.h"

namespace ebb {
namespace {

constexpr int kFollowIntervalMs = 1000;

// Reads one daemon's events after the other's.
class EventReader {
 public:
  explicit EventReader(const Invocation& invocation)
      : json_(invocation.json), session_(invocation) {}

  // Prints what is new. False when the daemon could not be asked, which is in session().
  bool PrintNew() {
    if (!FindDaemon()) return false;
    while (true) {
      const std::optional<Json> batch =
          session_.Call("GET", absl::StrCat("/v1/events?after=", after_));
      if (!batch) return false;
      NoteLost(NumberField(*batch, "lost"));
      const auto events = batch->find("events");
      if (events == batch->end() || !events->is_array() || events->empty()) return true;
      for (const Json& event : *events) PrintEvent(event);
      after_ = NumberField(*batch, "next");
    }
  }

  // Said once, until there is a daemon again.
  void NoteGone() {
    if (!gone_) Note("ebbd cannot be reached any more; waiting for it");
    gone_ = true;
  }

  bool found_before() const { return started_s_.has_value(); }
  const Session& session() const { return session_; }

 private:
  // Its events are counted from 1, and there may be more of them already than were read of the
  // last daemon's: only its start tells that it is another one.
  bool FindDaemon() {
    const std::optional<Json> host = session_.Call("GET", "/v1/status");
    if (!host) return false;
    const double started_s = RealField(*host, "started_s");
    const bool is_new = started_s_ && *started_s_ != started_s;
    if (is_new) {
      Note(absl::StrCat("ebbd has been started again (process ", NumberField(*host, "pid"),
                        "); its events follow"));
      after_ = 0;
    } else if (gone_) {
      Note("ebbd answers again");
    }
    gone_ = false;
    started_s_ = started_s;
    return true;
  }

  void NoteLost(uint64_t lost) {
    if (lost > 0) Note(absl::StrCat(lost, " earlier events are lost: ebbd keeps the last 1024"));
  }

  void PrintEvent(const Json& event) const {
    if (json_) {
      // ASCII only: what a terminal would obey is escaped.
      Print(event.dump(-1, ' ', /*ensure_ascii=*/true, Json::error_handler_t::replace) + "\n");
      return;
    }
    Print(absl::StrFormat("%s  %-17s  %s\n", TextField(event, "time"), TextField(event, "kind"),
                          TextField(event, "message")));
  }

  // Not among the events: those may be read by a program.
  static void Note(const std::string& text) {
    std::fflush(stdout);
    std::fprintf(stderr, "ebbctl: %s\n", text.c_str());
  }

  const bool json_;
  Session session_;
  uint64_t after_ = 0;
  std::optional<double> started_s_;
  bool gone_ = false;
};

}  // namespace

int RunEvents(const Invocation& invocation) {
  EventReader reader(invocation);
  if (!invocation.follow) return reader.PrintNew() ? kExitDone : reader.session().Fail();
  const InterruptWatch interrupt;
  while (!interrupt.interrupted()) {
    if (!reader.PrintNew()) {
      const bool unreachable = reader.session().exit_code() == kExitUnreachable;
      if (!unreachable || !reader.found_before()) return reader.session().Fail();
      reader.NoteGone();
    }
    // A reader that has gone away ends it, too.
    if (std::fflush(stdout) != 0) return kExitFailed;
    interrupt.Sleep(kFollowIntervalMs);
  }
  return kExitInterrupted;
}

}  // namespace ebb
