// SPDX-License-Identifier: MIT
#include "hostd/os/kernel_probe.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "hostd/base/status_macros.h"
#include "hostd/base/units.h"
#include "hostd/base/wait_checks.h"
#include "hostd/os/process.h"
#include "hostd/os/qemu_memory.h"
#include "hostd/os/unix_socket.h"

#ifndef USERFAULTFD_IOC_NEW
#define USERFAULTFD_IOC_NEW _IO(0xAA, 0x00)  // linux/userfaultfd.h of 6.1
#endif

namespace ebb {
namespace {

// More than one CPU's LRU batch holds (31): pages that are still in one are not zapped.
constexpr uint64_t kProbePages = 128;
constexpr int kAnswerTimeoutMs = 1000;
// Long enough for a woken child to answer, short enough for all checks together.
constexpr int kStaysAsleepMs = 3;

// What the parent asks of the child; the child answers with one byte.
struct Command {
  enum Kind : char { kWrite, kRead, kDiscard } kind;
  uint8_t page;
};

// Plays QEMU: owns the mapping and the userfaultfd, and touches pages when told to.
[[noreturn]] void RunChild(int socket, int device, int memfd) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  auto* memory = static_cast<volatile char*>(
      mmap(nullptr, kProbePages * kPageBytes, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0));
  const int uffd = ioctl(device, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);
  if (memory == MAP_FAILED || uffd < 0) _exit(1);
  for (uint64_t page = 0; page < kProbePages; ++page) memory[page * kPageBytes] = 'e';
  const auto hva = reinterpret_cast<uint64_t>(memory);
  if (!SendPacket(socket, std::as_bytes(std::span(&hva, 1)), std::span(&uffd, 1)).ok()) _exit(1);

  // style-ok(wait): the child's loop; it has no part in the daemon
  for (Command command; read(socket, &command, sizeof command) == sizeof command;) {
    volatile char* page = memory + command.page * kPageBytes;
    char answer = 0;
    if (command.kind == Command::kWrite) *page = 'w';
    if (command.kind == Command::kRead) answer = *page;
    if (command.kind == Command::kDiscard) {
      // style-ok(wait): the child's loop
      madvise(const_cast<char*>(page), kPageBytes, MADV_DONTNEED);
    }
    // style-ok(wait): the child's loop
    if (write(socket, &answer, 1) != 1) break;
  }
  _exit(0);
}

// The parent's side of the probe: a child that plays QEMU, and its memory.
class Probe {
 public:
  static absl::StatusOr<std::unique_ptr<Probe>> Start(int device);
  ~Probe() {
    kill(child_, SIGKILL);
    MayWait("for the probe's child");
    waitpid(child_, nullptr, 0);
  }

  absl::Status CheckAll();

 private:
  Probe(int child, UniqueFd socket) : child_(child), socket_(std::move(socket)) {}

  absl::Status ConnectMemory(UniqueFd memfd);
  absl::Status CheckRemoteRegister();
  absl::Status CheckPageoutUnmapsAndKeeps();
  absl::Status CheckWriteProtect();
  absl::Status CheckPunchKeepsMarkerAndCopyClearsIt();
  absl::Status CheckExistingPageWakesNobody();
  absl::Status CheckDontneedSendsRemove();

  void Ask(Command::Kind kind, PageIndex page) {
    const Command command = {kind, static_cast<uint8_t>(page.value)};
    MayWait("for the probe's child");
    [[maybe_unused]] ssize_t sent = write(socket_.get(), &command, sizeof command);
  }
  bool Answers(int timeout_ms, char* answer) {
    pollfd wait = {socket_.get(), POLLIN, 0};
    MayWait("for the probe's child");
    return poll(&wait, 1, timeout_ms) == 1 && read(socket_.get(), answer, 1) == 1;
  }
  // Waits for one message; kUnknown when none comes.
  GuestMessage NextMessage();
  PteState Pte(PageIndex page);

  int child_;
  UniqueFd socket_;
  std::unique_ptr<QemuMemory> memory_;
};

absl::Status Missing(const char* behaviour) {
  return absl::UnimplementedError(std::string("this kernel (") + KernelRelease() +
                                  ") lacks what Ebb relies on: " + behaviour);
}

absl::StatusOr<std::unique_ptr<Probe>> Probe::Start(int device) {
  UniqueFd memfd(memfd_create("ebb-probe", MFD_CLOEXEC));
  std::array<int, 2> sockets;
  if (!memfd.valid() || ftruncate(memfd.get(), kProbePages * kPageBytes) != 0 ||
      socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets.data()) != 0) {
    return ErrnoStatus("setting up the kernel probe");
  }
  UniqueFd ours(sockets[0]);
  UniqueFd theirs(sockets[1]);
  const int child = fork();
  if (child < 0) return ErrnoStatus("fork");
  if (child == 0) RunChild(theirs.get(), device, memfd.get());
  std::unique_ptr<Probe> probe(new Probe(child, std::move(ours)));
  EBB_RETURN_IF_ERROR(probe->ConnectMemory(std::move(memfd)));
  return probe;
}

absl::Status Probe::ConnectMemory(UniqueFd memfd) {
  pollfd wait = {socket_.get(), POLLIN, 0};
  uint64_t hva = 0;
  ReceivedPacket packet;
  MayWait("for the probe's child");
  if (poll(&wait, 1, kAnswerTimeoutMs) != 1 ||
      ReceivePacket(socket_.get(), std::as_writable_bytes(std::span(&hva, 1)), 1, &packet) !=
          OsResult::kDone ||
      packet.fds.size() != 1) {
    return Missing("a userfaultfd made from /dev/userfaultfd (Linux 6.1)");
  }
  QemuMemory::Handles handles;
  handles.userfaultfd = std::move(packet.fds[0]);
  handles.memfds.push_back(std::move(memfd));
  handles.pid = child_;
  EBB_ASSIGN_OR_RETURN(handles.pidfd, OpenPidfd(child_));
  EBB_ASSIGN_OR_RETURN(
      memory_, QemuMemory::Open(std::move(handles), RamLayout({{{hva}, kProbePages, 0, 0}})));
  return absl::OkStatus();
}

GuestMessage Probe::NextMessage() {
  pollfd wait = {memory_->message_fd(), POLLIN, 0};
  std::array<GuestMessage, 1> messages;
  size_t count = 0;
  MayWait("for the probe's child");
  if (poll(&wait, 1, kAnswerTimeoutMs) == 1) memory_->ReadMessages(messages, &count);
  return count == 1 ? messages[0] : GuestMessage{};
}

PteState Probe::Pte(PageIndex page) {
  std::array<PteState, 1> state;
  memory_->ReadPtes({page, 1}, state);
  return state[0];
}

absl::Status Probe::CheckRemoteRegister() {
  if (memory_->Register({{0}, kProbePages}) != OsResult::kDone) {
    return Missing("UFFDIO_REGISTER from another process, with shmem write-protection");
  }
  return absl::OkStatus();
}

absl::Status Probe::CheckPageoutUnmapsAndKeeps() {
  memory_->ZapPtes({{0}, kProbePages});
  std::vector<PteState> ptes(kProbePages);
  memory_->ReadPtes({{0}, kProbePages}, ptes);
  // Any one will do; the last ones may sit in a batch.
  const auto zapped =
      std::find_if(ptes.begin(), ptes.end(), [](const PteState& pte) { return !pte.present; });
  if (zapped == ptes.end()) return Missing("process_madvise(MADV_PAGEOUT) unmaps shmem pages");
  char answer = 0;
  Ask(Command::kRead, {static_cast<uint64_t>(zapped - ptes.begin())});
  if (!Answers(kAnswerTimeoutMs, &answer) || answer != 'e') {
    return Missing("MADV_PAGEOUT keeps the page for the next touch, without a fault message");
  }
  return absl::OkStatus();
}

absl::Status Probe::CheckWriteProtect() {
  char answer = 0;
  if (memory_->WriteProtect({{0}, 1}) != OsResult::kDone || !Pte({0}).write_protected) {
    return Missing("UFFDIO_WRITEPROTECT on shmem shows in pagemap");
  }
  Ask(Command::kWrite, {0});
  if (NextMessage().kind != FaultMessage::Kind::kWriteProtect ||
      memory_->Unprotect({0}) != OsResult::kDone || !Answers(kAnswerTimeoutMs, &answer)) {
    return Missing("a write to a protected page waits until the protection is taken off");
  }
  return absl::OkStatus();
}

absl::Status Probe::CheckPunchKeepsMarkerAndCopyClearsIt() {
  std::vector<std::byte> content(kPageBytes, std::byte{'c'});
  char answer = 0;
  if (memory_->WriteProtect({{0}, 1}) != OsResult::kDone ||
      memory_->Punch({{0}, 1}) != OsResult::kDone || !Pte({0}).write_protected ||
      Pte({0}).present) {
    return Missing("a punch keeps the write-protect marker");
  }
  Ask(Command::kRead, {0});
  if (NextMessage().kind != FaultMessage::Kind::kMissing ||
      memory_->Fill({0}, content.data()) != OsResult::kDone ||
      !Answers(kAnswerTimeoutMs, &answer) || answer != 'c') {
    return Missing("a touch of a hole waits until UFFDIO_COPY fills it");
  }
  if (Pte({0}).write_protected) return Missing("UFFDIO_COPY clears the write-protect marker");
  return absl::OkStatus();
}

absl::Status Probe::CheckExistingPageWakesNobody() {
  const std::vector<std::byte> content(kPageBytes, std::byte{'x'});
  char answer = 0;
  memory_->WriteProtect({{0}, 1});
  Ask(Command::kWrite, {0});
  if (NextMessage().kind != FaultMessage::Kind::kWriteProtect ||
      memory_->Fill({0}, content.data()) != OsResult::kExists || Answers(kStaysAsleepMs, &answer)) {
    return Missing("UFFDIO_COPY onto an existing page fails with EEXIST and wakes nobody");
  }
  if (memory_->Unprotect({0}) != OsResult::kDone || !Answers(kAnswerTimeoutMs, &answer)) {
    return Missing("taking protection off wakes the writer");
  }
  return absl::OkStatus();
}

absl::Status Probe::CheckDontneedSendsRemove() {
  char answer = 0;
  Ask(Command::kDiscard, {1});
  const GuestMessage message = NextMessage();
  if (message.kind != FaultMessage::Kind::kRemove || message.range != PageRange{{1}, 1} ||
      !Answers(kAnswerTimeoutMs, &answer)) {
    return Missing("MADV_DONTNEED sends UFFD_EVENT_REMOVE");
  }
  return absl::OkStatus();
}

absl::Status Probe::CheckAll() {
  EBB_RETURN_IF_ERROR(CheckRemoteRegister());
  EBB_RETURN_IF_ERROR(CheckPageoutUnmapsAndKeeps());
  EBB_RETURN_IF_ERROR(CheckWriteProtect());
  EBB_RETURN_IF_ERROR(CheckPunchKeepsMarkerAndCopyClearsIt());
  EBB_RETURN_IF_ERROR(CheckExistingPageWakesNobody());
  return CheckDontneedSendsRemove();
}

}  // namespace

absl::StatusOr<UniqueFd> OpenUserfaultfdDevice() {
  MayWait("for a device to open");
  UniqueFd fd(open("/dev/userfaultfd", O_RDWR | O_CLOEXEC));
  if (!fd.valid()) return ErrnoStatus("opening /dev/userfaultfd (Linux 6.1 or newer, as root)");
  return fd;
}

absl::Status ProbeKernel(int userfaultfd_device) {
  EBB_ASSIGN_OR_RETURN(std::unique_ptr<Probe> probe, Probe::Start(userfaultfd_device));
  return probe->CheckAll();
}

}  // namespace ebb
