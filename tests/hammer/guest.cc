// SPDX-License-Identifier: MIT
#include "tests/hammer/guest.h"

#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <numeric>
#include <utility>

#include "hostd/base/status_macros.h"
#include "hostd/os/process.h"
#include "hostd/os/unix_socket.h"
#include "tests/hammer/guest_process.h"

namespace ebb::hammer {
namespace {

constexpr int kAnswerMs = 30000;

bool AwaitReadable(const UniqueFd& socket) {
  pollfd wait = {socket.get(), POLLIN, 0};
  int result;
  do {
    result = poll(&wait, 1, kAnswerMs);
  } while (result < 0 && errno == EINTR);
  return result == 1;
}

absl::Status MakeSockets(UniqueFd* ours, UniqueFd* theirs) {
  std::array<int, 2> ends;
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    return ErrnoStatus("socketpair");
  }
  *ours = UniqueFd(ends[0]);
  *theirs = UniqueFd(ends[1]);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Guest> Guest::Start(const GuestOptions& options) {
  Guest guest;
  UniqueFd their_orders;
  UniqueFd their_barriers;
  EBB_RETURN_IF_ERROR(MakeSockets(&guest.orders_, &their_orders));
  EBB_RETURN_IF_ERROR(MakeSockets(&guest.barriers_, &their_barriers));
  void* counts = mmap(nullptr, sizeof(synthetic::Vcpu::Counts), PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (counts == MAP_FAILED) return ErrnoStatus("sharing memory");
  // All zeros, which counters are at first. Never unmapped: there is one guest in a process.
  guest.counts_ = static_cast<synthetic::Vcpu::Counts*>(counts);
  std::fflush(nullptr);
  const pid_t pid = fork();
  if (pid < 0) return ErrnoStatus("fork");
  if (pid == 0) {
    guest.orders_.Reset();
    guest.barriers_.Reset();
    RunGuestProcess(options, guest.counts_, std::move(their_orders), std::move(their_barriers));
  }
  their_orders.Reset();
  their_barriers.Reset();
  EBB_ASSIGN_OR_RETURN(guest.pidfd_, OpenPidfd(pid));
  guest.pages_ = options.pages;
  GuestHello hello;
  ReceivedPacket packet;
  if (!AwaitReadable(guest.orders_) ||
      ReceivePacket(guest.orders_.get(), std::as_writable_bytes(std::span(&hello, 1)), 2,
                    &packet) != OsResult::kDone ||
      packet.fds.size() != 2) {
    return absl::UnavailableError("the guest process does not start");
  }
  guest.hva_ = hello.hva;
  guest.handles_.userfaultfd = std::move(packet.fds[0]);
  guest.handles_.memfds.push_back(std::move(packet.fds[1]));
  guest.handles_.pid = pid;
  EBB_ASSIGN_OR_RETURN(guest.handles_.pidfd, OpenPidfd(pid));
  return guest;
}

Guest::~Guest() {
  if (!pidfd_.valid()) return;
  syscall(SYS_pidfd_send_signal, pidfd_.get(), SIGKILL, nullptr, 0U);
  siginfo_t info;
  waitid(P_PIDFD, static_cast<id_t>(pidfd_.get()), &info, WEXITED);
}

RamLayout Guest::layout() const {
  const uint64_t half = pages_ / 2;
  return RamLayout({{hva_, half, 0, 0},
                    {{hva_.value + PagesToBytes(half)}, pages_ - half, PagesToBytes(half), 0}});
}

absl::StatusOr<GuestReport> Guest::Give(Order order) {
  GuestReport report;
  if (write(orders_.get(), &order, sizeof order) != sizeof order || !AwaitReadable(orders_) ||
      read(orders_.get(), &report, sizeof report) != sizeof report) {
    return absl::UnavailableError("the guest process is gone or does not answer");
  }
  return report;
}

uint64_t Guest::operations() const {
  return std::accumulate(counts_->begin(), counts_->end(), uint64_t{0});
}

bool Guest::AwaitInFlight() {
  char byte = 'b';
  return write(barriers_.get(), &byte, 1) == 1 && AwaitReadable(barriers_) &&
         read(barriers_.get(), &byte, 1) == 1;
}

}  // namespace ebb::hammer
