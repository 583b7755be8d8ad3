// SPDX-License-Identifier: MIT
// Requests of the control API: METHOD, a newline, TARGET, a newline, and the body.
#include <cstdint>
#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include "hostd/base/check.h"
#include "hostd/control/routes.h"
#include "tests/hostd/control/fake_host.h"

namespace ebb {
namespace {

std::string TakeLine(std::string* text) {
  const size_t end = text->find('\n');
  const std::string line = text->substr(0, end);
  text->erase(0, end == std::string::npos ? end : end + 1);
  return line;
}

void Run(std::string text) {
  FakeHost host;
  host.Add(FakeHost::SomeVm("vm1"));
  ApiRequest request;
  request.method = TakeLine(&text);
  request.target = TakeLine(&text);
  request.body = text;
  const ApiResponse response = HandleRequest(host, request);

  static const std::set<int> kKnown = {200, 400, 403, 404, 405, 409, 413, 503};
  EBB_CHECK(kKnown.count(response.http_status) == 1, "unknown status");
  const auto body = nlohmann::json::parse(response.body, nullptr, /*allow_exceptions=*/false);
  EBB_CHECK(body.is_object(), "the answer is not JSON");
  // Who is told that it failed can rely on nothing having changed.
  const bool ok = response.http_status == 200;
  EBB_CHECK(ok || body.contains("error"), "a failure without an error");
  // 404 is the host's own answer, to a name it does not know.
  EBB_CHECK(ok || response.http_status == 404 || host.Orders().empty(),
            "a request that was refused got through to the host");
  EBB_CHECK(host.Orders().size() <= 1, "two orders of one request");

  // The same on a socket that only shows.
  const size_t orders = host.Orders().size();
  request.orders_go_to = "control.sock";
  const int status = HandleRequest(host, request).http_status;
  EBB_CHECK(host.Orders().size() == orders, "an order got through where it may not");
  EBB_CHECK(status == 403 || request.method == "GET", "another method than GET was not refused");
}

}  // namespace
}  // namespace ebb

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t bytes);
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t bytes) {
  ebb::Run(std::string(reinterpret_cast<const char*>(data), bytes));
  return 0;
}
