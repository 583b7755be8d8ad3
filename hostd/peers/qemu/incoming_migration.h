// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "hostd/peers/qemu/qmp_connection.h"

namespace ebb {

// Waits until a QEMU that was started with -incoming runs on its own memory. For postcopy QEMU
// registers a userfaultfd of its own, and has lost the VM if another one is registered by then: the
// source has stopped already. So nothing is registered before that is past, which is so when QEMU
// has left the run state `inmigrate` and has no userfaultfd registered (any more). A QEMU never
// goes back there. Peers thread only.
class IncomingMigration {
 public:
  // `qmp_path` as the library said it: a QMP socket of process `pid`.
  IncomingMigration(std::string vm_name, std::string qmp_path, int pid);

  // Whether QEMU was started to wait for a migration. Reads /proc; fails where it cannot tell.
  static absl::StatusOr<bool> IsAwaitedBy(int pid);

  // Asks QEMU now and then. Returns when it wants to be called again, in ns from now.
  int64_t OnTick(int64_t now_ns);
  // The descriptor to poll, -1 for none.
  int fd() const { return connection_.fd(); }
  void OnReadable();
  // Once true, it stays so.
  bool over() const { return over_; }

 private:
  void Connect();
  void Ask();
  void LookForUserfaultfd();

  const std::string vm_name_;
  const std::string qmp_path_;
  const int pid_;
  QmpConnection connection_;
  int64_t next_ask_ns_ = 0;
  bool over_ = false;
  bool said_trouble_ = false;
};

}  // namespace ebb
