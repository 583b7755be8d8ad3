// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "hostd/base/unique_fd.h"
#include "hostd/os/open_guard.h"
#include "hostd/os/unix_socket.h"
#include "hostd/os/wake_event.h"
#include "hostd/peers/qemu/incoming_migration.h"
#include "hostd/peers/qemu/qmp_barrier.h"
#include "hostd/vm/attach_check.h"
#include "hostd/vm/vm.h"
#include "hostd/wire/handover.h"

namespace ebb {

// The RAM blocks of a hello whose counts are in range.
std::vector<ClaimedRamBlock> BlocksOf(const wire::Hello& hello);

// One connection of a library in QEMU: from the offer through the hello to the attached VM.
// Everything the other side says is checked before it is used. Peers thread only.
class QemuSession {
 public:
  QemuSession(UniqueFd socket, PeerCredentials peer, int64_t now_ns)
      : socket_(std::move(socket)), peer_(peer), deadline_ns_(now_ns + kHelloTimeoutNs) {}

  absl::Status SendOffer(int userfaultfd_device);
  absl::Status SendAccept();
  void SendRefuse(const std::string& reason);
  void SendRelease();

  // Reads one packet. kRetry: nothing yet; kGone: the peer closed; kDone: a hello is there to
  // attach; kFailed: garbage, see `error`. A library that was attached has no more to say: garbage
  // of its is the last that is read.
  OsResult Receive(absl::Status* error);

  // Call it when a hello is there. Sets `incoming()` for a QEMU that must not be attached before
  // that is over.
  absl::Status LookForIncomingMigration();
  IncomingMigration* incoming() const { return incoming_.get(); }
  void ForgetIncomingMigration() { incoming_.reset(); }

  // Checks the hello against what the process really is and starts the VM. From then on its memory
  // cannot be opened, if there is a guard, until LetOpen or the session's end.
  absl::Status Attach(WakeEvent* peers_wake, OpenGuard* open_guard, const HostTiers& tiers);
  // Call it when the VM has all of its memory back.
  void LetOpen() { ban_.Lift(); }

  const PeerCredentials& peer() const { return peer_; }
  const std::string& vm_name() const { return vm_name_; }
  const std::shared_ptr<Vm>& vm() const { return vm_; }
  QmpBarrier* barrier() const { return barrier_; }
  int socket() const { return socket_.get(); }
  // What to poll for packets; -1 when nothing more is read.
  int readable_socket() const { return reading_ ? socket_.get() : -1; }
  void StopReading() { reading_ = false; }
  // Everything that came from the other side and was not attached, and the connection itself, for
  // somebody who can wait for its close. The session is over then.
  std::vector<UniqueFd> TakeDescriptors();
  int pidfd() const { return pidfd_.get(); }
  // What to poll for QEMU's answers, -1 for none; OnQmpReadable() reads them.
  int qmp() const;
  void OnQmpReadable();

  // Attached, about to be, or still within the time a library has for its hello.
  bool InTime(int64_t now_ns) const {
    return vm_ != nullptr || incoming_ != nullptr || now_ns < deadline_ns_;
  }
  void Finish() { finished_ = true; }
  bool finished() const { return finished_; }

 private:
  static constexpr int64_t kHelloTimeoutNs = 5 * kNsPerS;

  absl::Status CheckHello(const wire::Hello& hello, size_t fds);
  absl::Status ForbidOpening(const std::vector<UniqueFd>& memfds, const VmRam& ram,
                             OpenGuard* guard);
  // Empty: it has none.
  std::string QmpPath() const;
  std::unique_ptr<QmpBarrier> MakeBarrier(WakeEvent* peers_wake) const;

  UniqueFd socket_;
  PeerCredentials peer_;
  int64_t deadline_ns_;
  bool finished_ = false;
  bool reading_ = true;
  std::vector<UniqueFd> rejected_fds_;

  // From the hello, checked.
  wire::Hello hello_{};
  std::vector<UniqueFd> hello_fds_;
  std::string vm_name_;

  std::unique_ptr<IncomingMigration> incoming_;
  OpenGuard::Ban ban_;
  UniqueFd pidfd_;
  std::shared_ptr<Vm> vm_;
  QmpBarrier* barrier_ = nullptr;  // owned by vm_; null in grace-time mode
};

}  // namespace ebb
