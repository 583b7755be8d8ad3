// SPDX-License-Identifier: MIT
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"

namespace ebb {

struct ApiReply {
  long http_status = 0;
  nlohmann::ordered_json json;

  bool ok() const { return http_status == 200; }
};

// Asks ebbd over its control socket. One request at a time.
class ControlClient {
 public:
  explicit ControlClient(std::string socket_path);
  ~ControlClient();
  ControlClient(const ControlClient&) = delete;
  ControlClient& operator=(const ControlClient&) = delete;

  // A refusal by the daemon is a reply too. Unavailable: the daemon cannot be reached; and
  // PermissionDenied: the socket is closed to this user; the message names the socket and says what
  // to do. Internal: what answers there is not ebbd.
  absl::StatusOr<ApiReply> Call(const char* method, const std::string& path,
                                const std::string& body = "");

 private:
  struct Curl;  // keeps curl's header in one file

  const std::string socket_path_;
  std::unique_ptr<Curl> curl_;
};

}  // namespace ebb
