// SPDX-License-Identifier: MIT
#include "hostd/peers/qemu/handover.h"

#include <poll.h>

#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/str_format.h"
#include "hostd/base/clock.h"
#include "hostd/base/log.h"
#include "hostd/base/status_macros.h"
#include "hostd/base/wait_checks.h"
#include "hostd/os/process.h"
#include "hostd/os/thread.h"
#include "hostd/os/unix_socket.h"

namespace ebb {
namespace {

// What one VM takes of ebbd's file limit, with the most RAM blocks a hello may have.
constexpr uint64_t kFilesPerSession = 48;
constexpr uint64_t kFilesForEbbd = 128;
// Connections that have not said hello yet; the oldest goes when there are more.
constexpr size_t kMaxUnattached = 32;
// Descriptors of strangers that wait for their close; with more, nobody new is let in.
constexpr size_t kMaxToClose = 512;
constexpr int64_t kClosingTooLongNs = 5 * kNsPerS;
// When accepting fails for want of descriptors.
constexpr int64_t kAcceptPauseNs = 100 * kNsPerMs;
// No more connections than this in that time: somebody who connects without end must not have all
// of this thread's time. Whoever comes in between waits in the backlog for as long.
constexpr int kMaxAccepts = 50;
constexpr int64_t kMaxWaitNs = kNsPerS;
// How soon a state change of a VM that is being detached is noticed.
constexpr int64_t kStoppingWaitNs = 50 * kNsPerMs;
// A clean stop leaves at least this much of the host's memory free.
constexpr uint64_t kStopMarginBytes = 128 * kMiB;

}  // namespace

absl::StatusOr<std::unique_ptr<Handover>> Handover::Listen(const Options& options,
                                                           UniqueFd userfaultfd_device,
                                                           Registry* registry) {
  const mode_t mode = options.socket_group.empty() ? 0600 : 0660;
  EBB_ASSIGN_OR_RETURN(ListenSocket listener,
                       ListenSocket::Create(options.socket_path, SocketType::kSeqPacket, mode,
                                            options.socket_group));
  return std::unique_ptr<Handover>(new Handover(std::move(listener), std::move(userfaultfd_device),
                                                options.open_guard, registry));
}

Handover::Handover(ListenSocket listener, UniqueFd userfaultfd_device, OpenGuard* open_guard,
                   Registry* registry)
    : listener_(std::move(listener)),
      userfaultfd_device_(std::move(userfaultfd_device)),
      open_guard_(open_guard),
      registry_(registry),
      open_reports_(registry),
      max_vms_((FileLimit() - std::min(FileLimit(), kFilesForEbbd)) / kFilesPerSession) {}

bool Handover::RunOnce() {
  if (stop_requested_.exchange(false)) BeginStop();
  int64_t wait_ns = Tick(MonotonicNs());
  EndSessions();
  registry_->ForgetExited();
  registry_->LookForHeld(MonotonicNs());
  if (open_guard_ != nullptr) open_reports_.Say(open_guard_->TakeRefusals(), MonotonicNs());
  if (stopping_ && registry_->All().empty()) return false;

  const bool may_accept = MayAccept(MonotonicNs());
  if (!may_accept) wait_ns = std::min(wait_ns, kAcceptPauseNs);
  std::vector<pollfd> fds = {{wake_.fd(), POLLIN, 0},
                             {may_accept ? listener_.fd() : -1, POLLIN, 0}};
  for (const auto& session : sessions_) {
    fds.push_back({session->readable_socket(), POLLIN, 0});
    fds.push_back({session->pidfd(), POLLIN, 0});
    fds.push_back({session->qmp(), POLLIN, 0});
  }
  const timespec timeout = {wait_ns / kNsPerS, wait_ns % kNsPerS};
  MayWait("for peers");
  // A signal may end it early; then nothing is ready.
  if (ppoll(fds.data(), fds.size(), &timeout, nullptr) < 0) return true;
  wake_.Clear();

  // Sessions that Accept adds are not in `fds` yet.
  const size_t polled = sessions_.size();
  for (size_t i = 0; i < polled; ++i) {
    QemuSession& session = *sessions_[i];
    if (fds[2 + 3 * i + 1].revents != 0) {
      NoteExit(session);
      session.Finish();
      continue;
    }
    if (fds[2 + 3 * i].revents != 0) HandlePacket(session);
    if (fds[2 + 3 * i + 2].revents != 0) session.OnQmpReadable();
  }
  if (fds[1].revents != 0) Accept();
  return true;
}

void Handover::NoteExit(const QemuSession& session) {
  const std::string& name = session.vm_name();
  LogInfo("vm %s: QEMU (process %d) has exited", name, session.peer().pid);
  if (session.vm() == nullptr) return;
  registry_->events().Add(
      EventKind::kVmExited, name,
      absl::StrFormat("%s is gone: its QEMU (process %d) has exited", name, session.peer().pid));
}

bool Handover::MayAccept(int64_t now_ns) {
  const bool closing = closer_.waiting() > kMaxToClose;
  if (!closing) {
    closing_since_ns_ = 0;
    said_closing_ = false;
    return now_ns >= accept_after_ns_;
  }
  if (closing_since_ns_ == 0) closing_since_ns_ = now_ns;
  if (now_ns - closing_since_ns_ > kClosingTooLongNs && !said_closing_) {
    said_closing_ = true;
    LogError(
        "descriptors that other processes handed over do not close; no VM is attached until "
        "they do");
  }
  return false;
}

// A process that keeps connecting pushes out its own connections.
void Handover::MakeRoom() {
  std::map<int, size_t> counts;
  size_t unattached = 0;
  for (const auto& session : sessions_) {
    if (session->vm() != nullptr || session->finished()) continue;
    ++counts[session->peer().pid];
    ++unattached;
  }
  if (unattached < kMaxUnattached) return;
  const auto greediest =
      std::max_element(counts.begin(), counts.end(),
                       [](const auto& a, const auto& b) { return a.second < b.second; });
  const auto oldest = std::find_if(sessions_.begin(), sessions_.end(), [&](const auto& session) {
    return session->vm() == nullptr && !session->finished() &&
           session->peer().pid == greediest->first;
  });
  (*oldest)->Finish();
}

void Handover::CountAccept(int64_t now_ns) {
  if (now_ns - accepts_since_ns_ >= kAcceptPauseNs) {
    accepts_since_ns_ = now_ns;
    accepts_ = 0;
  }
  if (++accepts_ >= kMaxAccepts) accept_after_ns_ = accepts_since_ns_ + kAcceptPauseNs;
}

void Handover::Accept() {
  CountAccept(MonotonicNs());
  absl::StatusOr<UniqueFd> socket = AcceptUnix(listener_.fd());
  if (!socket.ok()) {
    accept_after_ns_ = MonotonicNs() + kAcceptPauseNs;
    return;
  }
  const absl::StatusOr<PeerCredentials> peer = PeerOf(socket->get());
  if (!peer.ok()) return;
  MakeRoom();
  auto session = std::make_unique<QemuSession>(*std::move(socket), *peer, MonotonicNs());
  if (!session->SendOffer(userfaultfd_device_.get()).ok()) session->Finish();
  sessions_.push_back(std::move(session));
}

void Handover::HandlePacket(QemuSession& session) {
  absl::Status status;
  switch (session.Receive(&status)) {
    case OsResult::kRetry:
      return;
    case OsResult::kDone:
      break;
    case OsResult::kFailed:
      // An attached VM keeps being served: its memory depends on it.
      if (session.vm() == nullptr) {
        Refuse(session, status);
      } else {
        LogWarning("vm %s (process %d): sent something after its hello; no more is read from it",
                   session.vm_name(), session.peer().pid);
        session.StopReading();
      }
      return;
    default:
      // The library never closes the socket of an attached VM before QEMU ends.
      if (session.vm() == nullptr) session.Finish();
      session.StopReading();
      return;
  }
  status = session.LookForIncomingMigration();
  if (!status.ok()) return Refuse(session, status);
  if (session.incoming() == nullptr) return AttachOrRefuse(session);
  const auto line = conduct_.Refused(session.peer().pid, session.vm_name(),
                                     "it waits for a migration, and is attached when that is over",
                                     MonotonicNs());
  if (line) LogInfo("%s", *line);
}

void Handover::AttachOrRefuse(QemuSession& session) {
  const absl::Status status = Attach(session);
  if (!status.ok()) return Refuse(session, status);
  registry_->Add(session.vm());
  conduct_.Attached(session.peer().pid);
  LogInfo("vm %s: attached, %d MiB of RAM, process %d", session.vm_name(),
          session.vm()->ram_bytes() / kMiB, session.peer().pid);
}

absl::Status Handover::Attach(QemuSession& session) {
  const int pid = session.peer().pid;
  if (stopping_) return absl::UnavailableError("ebbd is stopping");
  if (registry_->Contains(session.vm_name())) {
    return absl::AlreadyExistsError(absl::StrFormat(
        "a VM named \"%s\" is attached already; give this one another name", session.vm_name()));
  }
  EBB_RETURN_IF_ERROR(registry_->CheckMayAttach(session.vm_name(), pid));
  const auto is_attached = [&](const auto& other) {
    return other->vm() != nullptr && !other->finished() && other->peer().pid == pid;
  };
  if (std::any_of(sessions_.begin(), sessions_.end(), is_attached)) {
    return absl::AlreadyExistsError(absl::StrFormat(
        "process %d has a VM attached already; load the library once, by -plugin or LD_PRELOAD",
        pid));
  }
  if (registry_->All().size() >= max_vms_) {
    return absl::ResourceExhaustedError(absl::StrFormat(
        "ebbd's file limit allows %d VMs; raise it (LimitNOFILE=) and start ebbd again", max_vms_));
  }
  if (!conduct_.MayBeChecked(pid, MonotonicNs())) {
    return absl::UnavailableError("it asks too often; once a second is enough");
  }
  EBB_RETURN_IF_ERROR(session.Attach(&wake_, open_guard_, registry_->tiers()));
  return session.SendAccept();
}

void Handover::Refuse(QemuSession& session, const absl::Status& reason) {
  const std::string text(reason.message());
  session.SendRefuse(text);
  session.Finish();
  const auto line = conduct_.Refused(session.peer().pid, session.vm_name(), text, MonotonicNs());
  if (!line) return;
  LogWarning("%s", *line);
  registry_->events().Add(EventKind::kAttachRefused, session.vm_name(),
                          *line + ". What to do: docs/LIMITS.md");
}

void Handover::BeginStop() {
  registry_->events().Add(EventKind::kStopRequested, "", "ebbd was asked to stop");
  uint64_t needed_bytes = 0;
  for (const auto& vm : registry_->All()) needed_bytes += vm->bytes_to_bring_back();
  const uint64_t available_bytes = HostAvailableBytes();
  if (needed_bytes > 0 && needed_bytes + kStopMarginBytes > available_bytes) {
    const std::string reason = absl::StrFormat(
        "stopping would bring %d MiB of guest memory back, and the host has %d MiB available; free "
        "memory or move VMs away first",
        needed_bytes / kMiB, available_bytes / kMiB);
    LogError("stop refused: %s", reason);
    registry_->SetStopRefused(reason);
    registry_->events().Add(EventKind::kStopRefused, "", "ebbd runs on: " + reason);
    return;
  }
  LogInfo("stopping: bringing %d MiB of guest memory back first", needed_bytes / kMiB);
  stopping_ = true;
  registry_->SetStopping(true);
  registry_->SetStopRefused("");
  for (const auto& vm : registry_->All()) registry_->BeginDetach(*vm, "ebbd is stopping");
}

int64_t Handover::Tick(int64_t now_ns) {
  int64_t wait_ns = stopping_ ? kStoppingWaitNs : kMaxWaitNs;
  for (const auto& session : sessions_) {
    if (session->finished()) continue;
    if (!session->InTime(now_ns)) {
      Refuse(*session, absl::DeadlineExceededError("it sent no hello in time"));
      continue;
    }
    if (session->incoming() != nullptr) {
      wait_ns = std::min(wait_ns, AwaitMigration(*session, now_ns));
    }
    if (session->vm() == nullptr) continue;
    if (session->vm()->state() != Vm::State::kRunning) {
      FinishDetached(*session);
      wait_ns = kStoppingWaitNs;
      continue;
    }
    if (session->barrier() != nullptr) {
      wait_ns = std::min(wait_ns, session->barrier()->OnTick(now_ns));
    }
  }
  return wait_ns;
}

int64_t Handover::AwaitMigration(QemuSession& session, int64_t now_ns) {
  if (!session.incoming()->over()) return session.incoming()->OnTick(now_ns);
  session.ForgetIncomingMigration();
  AttachOrRefuse(session);
  return kMaxWaitNs;
}

void Handover::FinishDetached(QemuSession& session) {
  switch (session.vm()->state()) {
    case Vm::State::kDetached:
      session.LetOpen();
      if (!stopping_) registry_->NoteDetached(session.vm_name());
      registry_->events().Add(
          EventKind::kVmDetached, session.vm_name(),
          absl::StrFormat("%s has all of its memory back and runs on without Ebb: %s",
                          session.vm_name(), session.vm()->detach_reason()));
      session.SendRelease();
      session.Finish();
      return;
    case Vm::State::kDetachFailed: {
      const std::string reason =
          absl::StrFormat("vm %s: %s", session.vm_name(), session.vm()->detach_error());
      LogError("not detached: %s", reason);
      registry_->events().Add(EventKind::kDetachFailed, session.vm_name(),
                              absl::StrFormat("%s stays attached: %s", session.vm_name(),
                                              session.vm()->detach_error()));
      // In this order: an order to detach that comes in between is refused by the VM, not
      // forgotten.
      registry_->CancelDetach(session.vm_name());
      session.vm()->ResumeAfterFailedDetach();
      if (stopping_) {
        stopping_ = false;
        registry_->SetStopping(false);
        registry_->SetStopRefused(reason);
        registry_->events().Add(EventKind::kStopRefused, "", "ebbd runs on: " + reason);
      }
      return;
    }
    default:
      return;
  }
}

void Handover::EndSessions() {
  for (const auto& session : sessions_) {
    if (!session->finished()) continue;
    if (session->vm() != nullptr) registry_->Remove(session->vm_name());
    closer_.Close(session->TakeDescriptors());
  }
  sessions_.erase(std::remove_if(sessions_.begin(), sessions_.end(),
                                 [](const auto& session) { return session->finished(); }),
                  sessions_.end());
}

}  // namespace ebb
