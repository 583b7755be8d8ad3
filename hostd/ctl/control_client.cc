// SPDX-License-Identifier: MIT
#include "hostd/ctl/control_client.h"

#include <curl/curl.h>

#include <cerrno>
#include <cstring>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"

namespace ebb {
namespace {

// ebbd answers from memory, at once: longer means it is stuck.
constexpr long kTimeoutMs = 15000;
constexpr size_t kMaxAnswerBytes = 64 * 1024 * 1024;

size_t AppendAnswer(char* data, size_t size, size_t count, void* answer) {
  auto* text = static_cast<std::string*>(answer);
  const size_t bytes = size * count;
  if (text->size() + bytes > kMaxAnswerBytes) return 0;
  text->append(data, bytes);
  return bytes;
}

// `os_error` is why the connection failed, 0 when it was made and then went wrong.
absl::Status Unreachable(const std::string& socket_path, int os_error, const std::string& why) {
  const std::string problem = absl::StrCat("cannot reach ebbd at ", socket_path, ": ", why, "\n");
  const char* advice = "Look at its log, and start it again if it has ended";
  if (os_error == EACCES || os_error == EPERM) {
    return absl::PermissionDeniedError(
        absl::StrCat(problem,
                     "Root may give orders, and the group that ebbd was started with "
                     "(--control-group); try: sudo ebbctl ..."));
  }
  if (os_error != 0) {
    advice =
        "Start it with: ebbd, as root\n"
        "If it serves another socket: ebbctl --socket PATH ..., or set EBB_CONTROL_SOCKET.";
  }
  return absl::UnavailableError(absl::StrCat(problem, advice));
}

}  // namespace

struct ControlClient::Curl {
  CURL* handle = curl_easy_init();
  curl_slist* headers = curl_slist_append(nullptr, "Content-Type: application/json");
  char error[CURL_ERROR_SIZE] = "";

  Curl() = default;
  Curl(const Curl&) = delete;
  Curl& operator=(const Curl&) = delete;
  ~Curl() {
    curl_slist_free_all(headers);
    curl_easy_cleanup(handle);
  }
};

ControlClient::ControlClient(std::string socket_path)
    : socket_path_(std::move(socket_path)), curl_(std::make_unique<Curl>()) {}

ControlClient::~ControlClient() = default;

absl::StatusOr<ApiReply> ControlClient::Call(const char* method, const std::string& path,
                                             const std::string& body) {
  CURL* curl = curl_->handle;
  if (curl == nullptr) return absl::InternalError("libcurl does not start");
  std::string answer;
  // The host name is never looked up; "localhost" is what goes into the Host header.
  const std::string url = absl::StrCat("http://localhost", path);
  curl_easy_reset(curl);
  curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, socket_path_.c_str());
  curl_easy_setopt(curl, CURLOPT_URL, url.c_str());
  curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);  // "." and ".." are names of VMs, not steps
  curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");    // whatever http_proxy says
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, kTimeoutMs);
  curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, curl_->error);
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, &AppendAnswer);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, &answer);
  if (std::string_view(method) != "GET") {
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, curl_->headers);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, static_cast<long>(body.size()));
    curl_easy_setopt(curl, CURLOPT_COPYPOSTFIELDS, body.c_str());
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
  }
  curl_->error[0] = '\0';
  if (const CURLcode result = curl_easy_perform(curl); result != CURLE_OK) {
    if (result == CURLE_COULDNT_CONNECT) {
      long os_error = 0;
      curl_easy_getinfo(curl, CURLINFO_OS_ERRNO, &os_error);
      if (os_error == 0) os_error = ECONNREFUSED;
      const int error = static_cast<int>(os_error);
      return Unreachable(socket_path_, error, std::strerror(error));
    }
    if (result == CURLE_OPERATION_TIMEDOUT) return Unreachable(socket_path_, 0, "no answer");
    return Unreachable(socket_path_, 0,
                       curl_->error[0] != '\0' ? curl_->error : curl_easy_strerror(result));
  }
  ApiReply reply;
  curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &reply.http_status);
  reply.json = nlohmann::ordered_json::parse(answer, nullptr, /*allow_exceptions=*/false);
  if (reply.json.is_discarded() || !reply.json.is_object()) {
    return absl::InternalError(absl::StrCat("what answers at ", socket_path_,
                                            " does not speak ebbd's control API", " (HTTP status ",
                                            reply.http_status, ")"));
  }
  return reply;
}

}  // namespace ebb
