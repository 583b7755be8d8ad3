// SPDX-License-Identifier: MIT
// The control API: what each method and path does. No sockets, so that tests can ask directly.
//
//   GET  /v1/status                                  the daemon
//   GET  /v1/events             ?after=SEQ           what has happened since SEQ, or of late
//   GET  /v1/vms                                     {"vms":[VM, ...]}
//   GET  /v1/vms/NAME                                one VM
//   PUT  /v1/vms/NAME/limit     {"bytes":N}          keep it at or below N resident; 0: no limit
//   POST /v1/vms/NAME/swap-out  {"to_bytes":N}       swap out once, down to N resident
//   POST /v1/vms/NAME/swap-in   nothing or {}        bring pages back
//   POST /v1/vms/NAME/detach    nothing or {}        bring everything back and let go of it
//   POST /v1/vms/NAME/attach    nothing or {}        let it return
//
// The orders return at once, with the VM's status. A socket that only shows refuses them. Every
// error is
// {"error":{"code":"...","message":"..."}} and has changed nothing. docs/openapi.json has it all.
#pragma once

#include <cstddef>
#include <string>

#include "hostd/vm/host.h"

namespace ebb {

inline constexpr size_t kMaxRequestBodyBytes = 64 * 1024;

struct ApiRequest {
  std::string method;
  std::string target;  // path and query as sent, still percent-encoded
  std::string body;
  Caller caller;
  // Not empty: the client may only look, and orders are for the socket of this path.
  std::string orders_go_to = {};
};

struct ApiResponse {
  int http_status = 200;
  std::string body;   // JSON, one line
  std::string allow;  // with 405: the methods the path takes
};

ApiResponse HandleRequest(Host& host, const ApiRequest& request);

// For a server that does not want to read such a body to its end.
ApiResponse PayloadTooLarge();

}  // namespace ebb
