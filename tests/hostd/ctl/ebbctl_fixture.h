// SPDX-License-Identifier: MIT
// The real ebbctl, as a process, against a real control server with a fake host behind it.
#pragma once

#include <gtest/gtest.h>
#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "hostd/base/unique_fd.h"
#include "hostd/base/units.h"
#include "hostd/control/control_server.h"
#include "tests/hostd/control/fake_host.h"

namespace ebb {

// No wait of these tests takes longer, even on a machine that does ten other things.
inline constexpr int64_t kDeadlineNs = 30 * kNsPerS;

// The ebbctl to test: $EBBCTL.
std::string EbbctlPath();

std::string ContentOf(const std::string& file);

struct Result {
  int exit_code = -1;  // minus the signal that ended it
  std::string out;
  std::string err;
};

// One run of ebbctl. Killed when it takes longer than the deadline.
class Process {
 public:
  // `err` is where its stderr goes, and `err_reader` where the test reads that.
  Process(const std::vector<std::string>& arguments, const std::vector<std::string>& environment,
          UniqueFd err, UniqueFd err_reader);

  void Signal(int number) const;
  // Reads its output until `part` is in what was read so far, or the deadline.
  void ReadUntil(const std::string& part);
  Result Wait();

 private:
  // Waits for more of stdout and stderr. False when both have ended, or nothing came in time.
  bool ReadMore(int64_t deadline_ns);

  pid_t pid_ = -1;
  UniqueFd out_;
  UniqueFd err_;
  Result result_;  // so far
};

// A server with one VM, "web".
class EbbctlTest : public testing::Test {
 protected:
  EbbctlTest();
  ~EbbctlTest() override;

  Process Start(const std::vector<std::string>& arguments);
  Result Run(const std::vector<std::string>& arguments) { return Start(arguments).Wait(); }
  // With a terminal as stderr.
  Result RunOnTerminal(const std::vector<std::string>& arguments);

  // Ends the server, if there is one, and starts one again.
  void Restart();
  // From now on a swap-out gets 10 MiB further each time somebody looks.
  void LetSwapOutMove();
  // The same for a swap-in, by 200 MiB, which ends when this much is resident.
  void LetSwapInMove(uint64_t stop_at_resident_bytes);

  static void ExpectContains(const std::string& text, const std::string& part);
  static void ExpectNoTrailingSpaces(const std::string& text);

  std::string dir_;
  std::string path_;
  std::vector<std::string> environment_;
  FakeHost host_;
  std::unique_ptr<ControlServer> server_;
};

}  // namespace ebb
