// SPDX-License-Identifier: MIT
#pragma once

#include <string>

#include "hostd/base/unique_fd.h"
#include "tests/hostd/os/child_process.h"
#include "tests/hostd/os/temporary_folder.h"

namespace ebb {

// QEMU's side of a QMP socket, played by the test. A child process is the one that listens, as the
// kernel tells whoever connects; the test accepts and speaks.
class QmpTestServer {
 public:
  QmpTestServer();

  const std::string& path() const { return path_; }
  int pid() const { return listener_.pid(); }

  // All of these wait, with a deadline, and say whether that was in time.
  bool Accept();
  bool Send(const std::string& text);  // nothing is added to it
  bool SendLine(const std::string& line) { return Send(line + "\r\n"); }
  std::string ReceiveLine();  // empty at the deadline
  // Nothing more has been sent to us.
  bool IsQuiet();
  void Disconnect() { connection_.Reset(); }

 private:
  TemporaryFolder folder_;
  const std::string path_ = folder_.File("qmp.sock");
  UniqueFd socket_;  // bound; the child makes it listen
  ChildProcess listener_;
  UniqueFd connection_;
  std::string received_;
};

}  // namespace ebb
