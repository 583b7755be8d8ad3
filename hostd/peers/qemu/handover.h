// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "hostd/base/unique_fd.h"
#include "hostd/os/closer.h"
#include "hostd/os/listen_socket.h"
#include "hostd/os/open_guard.h"
#include "hostd/os/wake_event.h"
#include "hostd/peers/qemu/peer_conduct.h"
#include "hostd/peers/qemu/qemu_session.h"
#include "hostd/vm/open_reports.h"
#include "hostd/vm/registry.h"

namespace ebb {

// The peers thread's work: accepts QEMUs, attaches their VMs, runs their QMP barriers, watches for
// their exit, and lets go of them when they are detached or ebbd stops. Thread-bound; RequestStop
// may be called from a signal handler.
class Handover {
 public:
  struct Options {
    std::string socket_path;
    std::string socket_group;         // who may connect besides root; empty: nobody
    OpenGuard* open_guard = nullptr;  // of the VMs' memory; none where the kernel has none
  };
  static absl::StatusOr<std::unique_ptr<Handover>> Listen(const Options& options,
                                                          UniqueFd userfaultfd_device,
                                                          Registry* registry);

  // Waits for something to do and does it. False once a stop has been asked for and every VM has
  // all of its memory back.
  bool RunOnce();

  // Asks for a clean stop. It is refused, and said so in the status, when the pages do not fit.
  void RequestStop() {
    stop_requested_.store(true);
    wake_.Set();
  }

 private:
  Handover(ListenSocket listener, UniqueFd userfaultfd_device, OpenGuard* open_guard,
           Registry* registry);

  bool MayAccept(int64_t now_ns);
  void Accept();
  void CountAccept(int64_t now_ns);
  void NoteExit(const QemuSession& session);
  void MakeRoom();
  void BeginStop();
  void FinishDetached(QemuSession& session);
  void EndSessions();
  int64_t Tick(int64_t now_ns);
  void Refuse(QemuSession& session, const absl::Status& reason);
  void HandlePacket(QemuSession& session);
  void AttachOrRefuse(QemuSession& session);
  absl::Status Attach(QemuSession& session);
  // Attaches it as soon as its migration is over. As Tick.
  int64_t AwaitMigration(QemuSession& session, int64_t now_ns);

  ListenSocket listener_;
  UniqueFd userfaultfd_device_;
  OpenGuard* const open_guard_;
  Registry* registry_;
  OpenReports open_reports_;
  WakeEvent wake_;
  std::atomic<bool> stop_requested_{false};
  bool stopping_ = false;
  const uint64_t max_vms_;
  int64_t accept_after_ns_ = 0;
  int64_t accepts_since_ns_ = 0;
  int accepts_ = 0;  // since then
  std::vector<std::unique_ptr<QemuSession>> sessions_;
  PeerConduct conduct_;
  int64_t closing_since_ns_ = 0;  // 0: not too many to close
  bool said_closing_ = false;
  Closer closer_;
};

}  // namespace ebb
