// SPDX-License-Identifier: MIT
#include "hostd/control/control_server.h"

#include <microhttpd.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <algorithm>
#include <climits>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <string>
#include <thread>
#include <utility>

#include "hostd/base/clock.h"
#include "hostd/base/status_macros.h"
#include "hostd/base/units.h"
#include "hostd/base/wait_checks.h"
#include "hostd/control/routes.h"
#include "hostd/os/listen_socket.h"
#include "hostd/os/unix_socket.h"

namespace ebb {

// Everything but `stop` belongs to the server's thread once that runs.
struct ControlServer::State {
  Host* host = nullptr;
  std::string orders_go_to;
  int64_t request_timeout_ns = 0;
  ListenSocket socket;
  MHD_Daemon* daemon = nullptr;
  int epoll_fd = -1;  // the daemon's
  UniqueFd stop;
  std::map<MHD_Connection*, int64_t> deadlines_ns;
  bool connection_closed = false;  // since it was last set to false
  std::thread thread;

  // Owns `daemon` before the thread exists.
  ~State() {
    if (daemon != nullptr) MHD_stop_daemon(daemon);
  }

  bool only_shows() const { return !orders_go_to.empty(); }
  // Where an order is refused anyway its size is not what is wrong with it.
  ApiResponse TooLarge(const ApiRequest& request) const {
    const bool is_order = only_shows() && request.method != "GET";
    return is_order ? HandleRequest(*host, request) : PayloadTooLarge();
  }
  void Run();
  static MHD_Result OnRequest(void* state, MHD_Connection* connection, const char* url,
                              const char* method, const char* version, const char* piece,
                              size_t* piece_bytes, void** context);
  void CutOffSlowClients(int64_t now_ns);
  int PollTimeoutMs(int64_t now_ns) const;
};

namespace {

// A body without a length (chunked) can be refused only after it has been read; this much of it is
// read for the sake of a clean answer.
constexpr uint64_t kMaxDiscardedBytes = 1024 * 1024;

// One request of one connection.
struct Exchange {
  ApiRequest request;
  uint64_t received_bytes = 0;
  bool headers_seen = false;
};

// Called before libmicrohttpd decodes %XX, which cuts the path at a %00: routes want what was sent.
void* BeginExchange(void*, const char* uri, MHD_Connection*) {
  auto exchange = std::make_unique<Exchange>();
  exchange->request.target = uri;
  return exchange.release();  // EndExchange gets it back, whatever happens
}

void EndExchange(void*, MHD_Connection*, void** context, MHD_RequestTerminationCode) {
  const std::unique_ptr<Exchange> exchange(static_cast<Exchange*>(*context));
  *context = nullptr;
}

MHD_Result Answer(MHD_Connection* connection, const ApiResponse& answer) {
  const std::string body = answer.body + "\n";
  MHD_Response* response = MHD_create_response_from_buffer(
      body.size(), const_cast<char*>(body.data()), MHD_RESPMEM_MUST_COPY);
  if (response == nullptr) return MHD_NO;
  MHD_add_response_header(response, "Content-Type", "application/json");
  MHD_add_response_header(response, "Connection", "close");
  if (!answer.allow.empty()) MHD_add_response_header(response, "Allow", answer.allow.c_str());
  const MHD_Result queued =
      MHD_queue_response(connection, static_cast<unsigned>(answer.http_status), response);
  MHD_destroy_response(response);
  return queued;
}

int FdOf(MHD_Connection* connection) {
  const MHD_ConnectionInfo* info =
      MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
  return info == nullptr ? -1 : info->connect_fd;
}

// libmicrohttpd has refused a header that is not a number.
bool AnnouncesTooMuch(MHD_Connection* connection) {
  const char* length = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Content-Length");
  return length != nullptr && std::strtoull(length, nullptr, 10) > kMaxRequestBodyBytes;
}

}  // namespace

// Called once after the headers, then once for each piece of the body, then once at its end.
MHD_Result ControlServer::State::OnRequest(void* state, MHD_Connection* connection, const char*,
                                           const char* method, const char*, const char* piece,
                                           size_t* piece_bytes, void** context) {
  const auto* self = static_cast<const State*>(state);
  auto* exchange = static_cast<Exchange*>(*context);
  if (exchange == nullptr) return MHD_NO;
  if (!exchange->headers_seen) {
    exchange->headers_seen = true;
    exchange->request.method = method;
    exchange->request.orders_go_to = self->orders_go_to;
    // Answering here ends the connection without reading the body: a client that sends it all the
    // same may fail at that, and not see the answer.
    return AnnouncesTooMuch(connection) ? Answer(connection, self->TooLarge(exchange->request))
                                        : MHD_YES;
  }
  if (*piece_bytes > 0) {
    exchange->received_bytes += *piece_bytes;
    if (exchange->received_bytes <= kMaxRequestBodyBytes) {
      exchange->request.body.append(piece, *piece_bytes);
    }
    *piece_bytes = 0;
    return exchange->received_bytes <= kMaxDiscardedBytes ? MHD_YES : MHD_NO;
  }
  if (exchange->received_bytes > kMaxRequestBodyBytes) {
    return Answer(connection, self->TooLarge(exchange->request));
  }
  const absl::StatusOr<PeerCredentials> peer = PeerOf(FdOf(connection));
  if (!peer.ok()) return MHD_NO;
  exchange->request.caller = {peer->uid, peer->pid};
  return Answer(connection, HandleRequest(*self->host, exchange->request));
}

void ControlServer::State::CutOffSlowClients(int64_t now_ns) {
  for (auto& [connection, deadline_ns] : deadlines_ns) {
    if (now_ns < deadline_ns) continue;
    // The daemon sees the end of the stream and closes; the descriptor stays its own.
    shutdown(FdOf(connection), SHUT_RDWR);
    deadline_ns = INT64_MAX;
  }
}

int ControlServer::State::PollTimeoutMs(int64_t now_ns) const {
  int64_t timeout_ms = INT_MAX;
  MHD_UNSIGNED_LONG_LONG daemon_ms = 0;
  if (MHD_get_timeout(daemon, &daemon_ms) == MHD_YES) {
    timeout_ms = static_cast<int64_t>(std::min<uint64_t>(daemon_ms, INT_MAX));
  }
  for (const auto& [connection, deadline_ns] : deadlines_ns) {
    if (deadline_ns == INT64_MAX) continue;
    // Rounded up, so that the deadline has passed when poll returns.
    timeout_ms = std::min(timeout_ms, std::max<int64_t>(0, deadline_ns - now_ns) / kNsPerMs + 1);
  }
  return timeout_ms == INT_MAX ? -1 : static_cast<int>(timeout_ms);
}

// Our own loop and not libmicrohttpd's thread: its timeout starts again with every byte, so only a
// loop of our own can end a connection that trickles.
void ControlServer::State::Run() {
  pthread_setname_np(pthread_self(), only_shows() ? "ebb-status" : "ebb-control");
  pollfd fds[] = {{stop.get(), POLLIN, 0}, {epoll_fd, POLLIN, 0}};
  while (true) {
    // Failing is returning early: everything below asks again.
    fds[0].revents = 0;
    MayWait("for clients");
    poll(fds, std::size(fds), PollTimeoutMs(MonotonicNs()));
    if (fds[0].revents != 0) break;
    CutOffSlowClients(MonotonicNs());
    // A daemon at its limit of connections listens again only in the run after one has closed.
    do {
      connection_closed = false;
      MHD_run(daemon);
    } while (connection_closed);
  }
  MHD_stop_daemon(std::exchange(daemon, nullptr));
}

absl::StatusOr<std::unique_ptr<ControlServer>> ControlServer::Start(
    Host& host, const ControlServerOptions& options) {
  auto state = std::make_unique<State>();
  state->host = &host;
  state->orders_go_to = options.orders_go_to;
  state->request_timeout_ns = options.request_timeout.count() * kNsPerMs;
  state->stop = UniqueFd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!state->stop.valid()) {
    return absl::ResourceExhaustedError("out of descriptors or memory for an eventfd");
  }

  EBB_ASSIGN_OR_RETURN(state->socket,
                       ListenSocket::Create(options.socket_path, SocketType::kStream,
                                            options.socket_mode, options.socket_group));
  UniqueFd listen_fd = state->socket.TakeFd();

  MHD_NotifyConnectionCallback on_connection = [](void* cls, MHD_Connection* connection, void**,
                                                  MHD_ConnectionNotificationCode what) {
    auto* self = static_cast<State*>(cls);
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
      self->deadlines_ns[connection] = MonotonicNs() + self->request_timeout_ns;
    } else {
      self->deadlines_ns.erase(connection);
      self->connection_closed = true;
    }
  };
  state->daemon = MHD_start_daemon(MHD_USE_EPOLL, /*port=*/0, nullptr, nullptr, &State::OnRequest,
                                   state.get(),                                               //
                                   MHD_OPTION_LISTEN_SOCKET, listen_fd.get(),                 //
                                   MHD_OPTION_CONNECTION_LIMIT, options.max_connections,      //
                                   MHD_OPTION_STRICT_FOR_CLIENT, 1,                           //
                                   MHD_OPTION_URI_LOG_CALLBACK, &BeginExchange, nullptr,      //
                                   MHD_OPTION_NOTIFY_COMPLETED, &EndExchange, nullptr,        //
                                   MHD_OPTION_NOTIFY_CONNECTION, on_connection, state.get(),  //
                                   MHD_OPTION_END);
  if (state->daemon == nullptr) return absl::InternalError("libmicrohttpd does not start");
  listen_fd.Release();  // the daemon closes it

  const MHD_DaemonInfo* info = MHD_get_daemon_info(state->daemon, MHD_DAEMON_INFO_EPOLL_FD);
  if (info == nullptr) return absl::InternalError("libmicrohttpd has no epoll descriptor");
  state->epoll_fd = info->epoll_fd;

  // The thread inherits this mask: the daemon's signals are for its main thread.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  state->thread = std::thread(&State::Run, state.get());
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return std::unique_ptr<ControlServer>(new ControlServer(std::move(state)));
}

ControlServer::ControlServer(std::unique_ptr<State> state) : state_(std::move(state)) {}

ControlServer::~ControlServer() {
  // The name first: a client that comes now is told that nobody is there, instead of waiting.
  state_->socket.RemoveName();
  eventfd_write(state_->stop.get(), 1);
  MayWait("for the control thread");
  state_->thread.join();
}

}  // namespace ebb
