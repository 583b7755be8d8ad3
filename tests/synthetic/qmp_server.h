// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <thread>

#include "hostd/base/unique_fd.h"
#include "tests/synthetic/in_flight.h"

namespace ebb::synthetic {

// As much of QEMU's QMP as ebbd asks for, on a unix socket: the greeting, qmp_capabilities,
// query-block (no disks) and transaction, which drains like QEMU's: its answer waits for the disk
// requests that had begun before it. One client at a time. Never touches guest memory.
class QmpServer {
 public:
  QmpServer(const std::string& path, InFlight* in_flight);

 private:
  void Run();
  void Serve(const UniqueFd& client);
  std::string Answer(const std::string& line);

  InFlight* const in_flight_;
  UniqueFd listener_;
  std::thread thread_;
};

}  // namespace ebb::synthetic
