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
  std::string socket_group;  // empty: that of the process
  // Not empty: this socket only shows, and who gives an order is told to go there.
  std::string orders_go_to;
  // From connecting to having read the whole answer. A connection serves one request, so that a
  // slow client can hold one of the connections no longer than this, whatever it trickles.
  std::chrono::milliseconds request_timeout{10000};
  // More clients than this wait in the socket's backlog.
  unsigned max_connections = 64;
};

// Serves the control API (routes.h) on a thread of its own. The thread takes no signals and calls
// `host`, which must outlive the server. Whoever can open the socket is trusted to give orders
// (unless they go to another one), not to be well-behaved. A flood of requests to one server keeps
// no other one busy.
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
