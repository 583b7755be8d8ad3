// SPDX-License-Identifier: MIT
#include "hostd/ctl/session.h"

#include <cstdio>
#include <utility>

#include "absl/strings/str_cat.h"

namespace ebb {
namespace {

std::string ErrorMessage(const ApiReply& reply) {
  const auto error = reply.json.find("error");
  const std::string message = error != reply.json.end() ? TextField(*error, "message") : "";
  return message.empty() ? absl::StrCat("ebbd answers with HTTP status ", reply.http_status)
                         : message;
}

}  // namespace

std::optional<Json> Session::Call(const char* method, const std::string& path,
                                  const std::string& body) {
  absl::StatusOr<ApiReply> reply = client_.Call(method, path, body);
  if (!reply.ok()) {
    const bool unreachable = reply.status().code() == absl::StatusCode::kUnavailable;
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
