// SPDX-License-Identifier: MIT
#include "hostd/peers/qemu/qmp_connection.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <span>
#include <utility>

#include "absl/strings/str_format.h"
#include "hostd/base/clock.h"
#include "hostd/base/status_macros.h"
#include "hostd/base/units.h"
#include "hostd/base/wait_checks.h"
#include "hostd/os/unix_socket.h"

namespace ebb {
namespace {

// query-block of a VM with many disks stays far below this.
constexpr size_t kMaxLineBytes = 1 << 20;
// QEMU's answers nest a handful of levels; a parser's recursion must not be up to the peer.
constexpr int kMaxNesting = 64;

// What QEMU may say: a long answer and some, and in the long run an event here and there.
constexpr int64_t kMaxBurstBytes = 4 * kMaxLineBytes;
constexpr int64_t kBytesPerS = 64 * 1024;

// Brackets in strings count too: that only makes it stricter.
bool NestsTooDeep(const std::string& line) {
  int depth = 0;
  for (const char c : line) {
    if (c == '[' || c == '{') ++depth;
    if (c == ']' || c == '}') --depth;
    if (depth > kMaxNesting) return true;
  }
  return false;
}

}  // namespace

absl::Status QmpConnection::Connect(const std::string& path, int pid) {
  EBB_ASSIGN_OR_RETURN(UniqueFd socket, ConnectUnix(path, SocketType::kStream));
  EBB_ASSIGN_OR_RETURN(const PeerCredentials peer, PeerOf(socket.get()));
  // The path came from the QEMU process: it must not lead to somebody else's socket.
  if (peer.pid != pid) {
    return absl::PermissionDeniedError(absl::StrFormat(
        "%s belongs to process %d, not to the VM's QEMU (%d)", path, peer.pid, pid));
  }
  socket_ = std::move(socket);
  received_.clear();
  flooded_ = false;
  allowed_bytes_ = kMaxBurstBytes;
  allowed_at_ns_ = MonotonicNs();
  negotiated_ = false;
  // QEMU greets first; the answer to this is what makes the connection usable.
  answer_ = [this](bool ok, const std::string&) {
    negotiated_ = ok;
    if (!ok) Close();
  };
  if (!Write("{\"execute\": \"qmp_capabilities\"}\n")) {
    Close();
    return absl::UnavailableError("QEMU's QMP socket takes no command");
  }
  return absl::OkStatus();
}

void QmpConnection::Close() {
  socket_.Reset();
  negotiated_ = false;
  if (Answer answer = std::exchange(answer_, nullptr)) answer(false, "");
}

void QmpConnection::Send(const std::string& command, Answer answer) {
  MayWait("for QMP");
  answer_ = std::move(answer);
  if (!Write(command + "\n")) Close();
}

bool QmpConnection::Write(const std::string& text) {
  // Commands are short and one at a time: a full socket buffer means QEMU does not read at all.
  size_t written = 0;
  return WriteSome(socket_.get(), std::span(text.data(), text.size()), &written) ==
             OsResult::kDone &&
         written == text.size();
}

bool QmpConnection::MayRead(size_t bytes) {
  const int64_t now_ns = MonotonicNs();
  const int64_t more = (now_ns - allowed_at_ns_) / (kNsPerS / kBytesPerS);
  allowed_at_ns_ = now_ns;
  allowed_bytes_ = std::min(kMaxBurstBytes, allowed_bytes_ + more) - static_cast<int64_t>(bytes);
  return allowed_bytes_ >= 0;
}

bool QmpConnection::OnReadable() {
  std::array<char, 16384> buffer;
  size_t bytes = 0;
  const OsResult result = ReadSome(socket_.get(), buffer, &bytes);
  if (result == OsResult::kRetry) return true;
  received_.append(buffer.data(), bytes);
  flooded_ = !MayRead(bytes);
  if (result != OsResult::kDone || received_.size() > kMaxLineBytes || flooded_) {
    Close();
    return false;
  }
  size_t start = 0;
  for (size_t end; connected() && (end = received_.find('\n', start)) != std::string::npos;) {
    const std::string line = received_.substr(start, end - start);
    start = end + 1;
    HandleLine(line);
  }
  received_.erase(0, start);
  return connected();
}

void QmpConnection::HandleLine(const std::string& line) {
  if (!answer_) return;  // an event, or an answer that nobody waits for
  if (NestsTooDeep(line)) {
    Close();
    return;
  }
  const auto message = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!message.is_object()) return;
  // The greeting and events carry neither.
  const bool ok = message.contains("return");
  if (!ok && !message.contains("error")) return;
  if (Answer answer = std::exchange(answer_, nullptr)) {
    answer(ok, ok ? message["return"].dump(-1, ' ', true, nlohmann::json::error_handler_t::replace)
                  : "");
  }
}

}  // namespace ebb
