// SPDX-License-Identifier: MIT
#pragma once

#include <sys/types.h>

#include <chrono>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "hostd/vm/host.h"

namespace ebb {

struct ControlServerOptions {
  // Created, and removed at the end.
  std::string socket_path;
  mode_t socket_mode = 0600;
  // From connecting to having read the whole answer. A connection serves one request, so that a
  // slow client can hold one of the connections no longer than this, whatever it trickles.
  std::chrono::milliseconds request_timeout{10000};
  // More clients than this wait in the socket's backlog.
  unsigned max_connections = 64;
};

// Serves the control API (routes.h) on a thread of its own. The thread takes no signals and calls
// `host`, which must outlive the server. Whoever can open the socket is trusted to give orders, not
// to be well-behaved.
class ControlServer {
 public:
  static absl::StatusOr<std::unique_ptr<ControlServer>> Start(Host& host,
                                                              const ControlServerOptions& options);
  // Removes the socket's name, ends all connections and joins the thread.
  ~ControlServer();
  ControlServer(const ControlServer&) = delete;
  ControlServer& operator=(const ControlServer&) = delete;

 private:
  struct State;
  explicit ControlServer(std::unique_ptr<State> state);

  std::unique_ptr<State> state_;
};

}  // namespace ebb
