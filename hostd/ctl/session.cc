// SPDX-License-Identifier: MIT
#include "hostd/ctl/session.h"

#include <cstdio>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"

namespace ebb {
namespace {

constexpr std::string_view kControlSocket = "control.sock";
constexpr std::string_view kStatusSocket = "status.sock";

// Nothing for a socket that has another name than ebbd gives it.
std::optional<std::string> StatusSocketBeside(const std::string& control_socket) {
  const size_t name = control_socket.rfind('/') + 1;  // 0 without a folder
  if (control_socket.substr(name) != kControlSocket) return std::nullopt;
  return control_socket.substr(0, name) + std::string(kStatusSocket);
}

std::string ErrorMessage(const ApiReply& reply) {
  const auto error = reply.json.find("error");
  const std::string message = error != reply.json.end() ? TextField(*error, "message") : "";
  return message.empty() ? absl::StrCat("ebbd answers with HTTP status ", reply.http_status)
                         : message;
}

}  // namespace

Session::Session(const Invocation& invocation)
    : json_(invocation.json), client_(invocation.socket_path) {
  const std::optional<std::string> status_socket = StatusSocketBeside(invocation.socket_path);
  if (status_socket) status_client_ = std::make_unique<ControlClient>(*status_socket);
}

absl::StatusOr<ApiReply> Session::Ask(const char* method, const std::string& path,
                                      const std::string& body) {
  absl::StatusOr<ApiReply> reply = client_.Call(method, path, body);
  const bool closed = reply.status().code() == absl::StatusCode::kPermissionDenied;
  if (!closed || status_client_ == nullptr || std::string_view(method) != "GET") return reply;
  absl::StatusOr<ApiReply> status_reply = status_client_->Call(method, path, body);
  // Where that is closed, too, or not there, what was wrong with the first says more.
  return status_reply.ok() ? std::move(status_reply) : std::move(reply);
}

std::optional<Json> Session::Call(const char* method, const std::string& path,
                                  const std::string& body) {
  absl::StatusOr<ApiReply> reply = Ask(method, path, body);
  if (!reply.ok()) {
    const absl::StatusCode code = reply.status().code();
    const bool unreachable =
        code == absl::StatusCode::kUnavailable || code == absl::StatusCode::kPermissionDenied;
    exit_code_ = unreachable ? kExitUnreachable : kExitFailed;
    error_ = MessageOf(reply.status());
    return std::nullopt;
  }
  if (!reply->ok()) {
    if (json_) PrintJson(reply->json);
    exit_code_ = kExitFailed;
    error_ = ErrorMessage(*reply);
    return std::nullopt;
  }
  return std::move(reply->json);
}

int Session::Fail() const { return Complain(exit_code_, error_); }

void Print(const std::string& text) { std::fputs(text.c_str(), stdout); }

void PrintJson(const Json& json) {
  Print(json.dump(2, ' ', /*ensure_ascii=*/false, Json::error_handler_t::replace) + "\n");
}

int Complain(ExitCode code, const std::string& message) {
  std::fprintf(stderr, "ebbctl: %s\n", message.c_str());
  return code;
}

std::string MessageOf(const absl::Status& status) {
  return std::string(status.message().data(), status.message().size());
}

}  // namespace ebb
