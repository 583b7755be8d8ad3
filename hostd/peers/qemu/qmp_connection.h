// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "hostd/base/unique_fd.h"

namespace ebb {

// A QMP connection of Ebb's own to one QEMU, without blocking: commands go out, answers come in
// when QEMU's main loop gets to them. Thread-bound to the peers thread. QEMU is not trusted: lines
// are bounded and parsed without exceptions.
class QmpConnection {
 public:
  // Called with the "return" value as JSON text, or with ok = false.
  using Answer = std::function<void(bool ok, const std::string& result)>;

  // Connects to `path`; fails unless process `pid` listens there.
  absl::Status Connect(const std::string& path, int pid);
  void Close();
  bool connected() const { return socket_.valid(); }
  // Capabilities are negotiated and no command is under way.
  bool idle() const { return connected() && negotiated_ && !answer_; }

  // One command at a time: only when idle(). `command` is a whole JSON object.
  void Send(const std::string& command, Answer answer);

  int fd() const { return socket_.get(); }
  // Call when fd() is readable. False when the connection is lost; it is closed then.
  bool OnReadable();
  // Whether it was closed because QEMU said more than anybody needs to: commands have short
  // answers, and events are few.
  bool flooded() const { return flooded_; }

 private:
  void HandleLine(const std::string& line);
  bool Write(const std::string& text);

  bool MayRead(size_t bytes);

  UniqueFd socket_;
  std::string received_;
  int64_t allowed_bytes_ = 0;  // to read until allowed_at_ns_; more with time
  int64_t allowed_at_ns_ = 0;
  bool flooded_ = false;
  bool negotiated_ = false;
  Answer answer_;
};

}  // namespace ebb
