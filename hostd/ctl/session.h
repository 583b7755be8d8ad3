// SPDX-License-Identifier: MIT
// What every command does: ask the daemon, print, complain.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "hostd/ctl/commands.h"
#include "hostd/ctl/control_client.h"
#include "hostd/ctl/views.h"

namespace ebb {

// One conversation with the daemon. Where control.sock is closed to this user, questions go to
// status.sock beside it, which is open to everybody.
class Session {
 public:
  explicit Session(const Invocation& invocation);

  // Nothing when it fails; Fail() then says why.
  std::optional<Json> Call(const char* method, const std::string& path,
                           const std::string& body = "");

  // Complains about the last call; how the command ends.
  int Fail() const;
  ExitCode exit_code() const { return exit_code_; }

 private:
  absl::StatusOr<ApiReply> Ask(const char* method, const std::string& path,
                               const std::string& body);

  const bool json_;
  ControlClient client_;
  std::unique_ptr<ControlClient> status_client_;  // null: there is no such socket
  ExitCode exit_code_ = kExitDone;
  std::string error_;
};

void Print(const std::string& text);
void PrintJson(const Json& json);
// Says it on stderr; returns `code`.
int Complain(ExitCode code, const std::string& message);

std::string MessageOf(const absl::Status& status);

}  // namespace ebb
