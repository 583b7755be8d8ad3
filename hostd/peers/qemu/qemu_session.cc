// SPDX-License-Identifier: MIT
#include "hostd/peers/qemu/qemu_session.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <iterator>
#include <utility>

#include "absl/strings/str_format.h"
#include "hostd/base/clock.h"
#include "hostd/base/status_macros.h"
#include "hostd/os/descriptor.h"
#include "hostd/os/process.h"
#include "hostd/os/qemu_memory.h"

namespace ebb {
namespace {

wire::Header MakeHeader(wire::MessageType type, size_t bytes) {
  wire::Header header = {};
  header.magic = wire::kMagic;
  header.version = wire::kVersion;
  header.type = static_cast<uint16_t>(type);
  header.size = static_cast<uint32_t>(bytes);
  return header;
}

template <typename Message>
absl::Status Send(int socket, wire::MessageType type, Message message, std::span<const int> fds) {
  message.header = MakeHeader(type, sizeof message);
  return SendPacket(socket, std::as_bytes(std::span(&message, 1)), fds);
}

bool IsNameCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '.' || c == '-';
}

// The size of a VM's RAM is its own claim, and its page words are populated and locked.
absl::Status CheckRoomFor(uint64_t pages) {
  constexpr uint64_t kMarginBytes = 128 * kMiB;
  // Address space costs a process nothing, so that its word alone must not take ebbd's memory.
  constexpr uint64_t kMaxOvercommit = 4;
  if (PagesToBytes(pages) / kMaxOvercommit > HostTotalBytes()) {
    return absl::ResourceExhaustedError(absl::StrFormat(
        "it says it has %d MiB of guest RAM, which is more than %d times the host's %d MiB",
        PagesToBytes(pages) / kMiB, kMaxOvercommit, HostTotalBytes() / kMiB));
  }
  const uint64_t needed_bytes = SharedSwapState::MetadataBytes(pages);
  const uint64_t available_bytes = HostAvailableBytes();
  if (needed_bytes + kMarginBytes <= available_bytes) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrFormat(
      "the page words of %d MiB of guest RAM take %d MiB, and the host has %d MiB available",
      PagesToBytes(pages) / kMiB, needed_bytes / kMiB, available_bytes / kMiB));
}

// The text of a NUL-terminated field, if it is terminated.
template <size_t kBytes>
absl::StatusOr<std::string> Text(const char (&field)[kBytes], const char* what) {
  const char* end = std::find(field, field + kBytes, '\0');
  if (end == field + kBytes) {
    return absl::InvalidArgumentError(absl::StrFormat("the %s is not terminated", what));
  }
  return std::string(field, end);
}

}  // namespace

std::vector<ClaimedRamBlock> BlocksOf(const wire::Hello& hello) {
  std::vector<ClaimedRamBlock> blocks;
  for (uint32_t i = 0; i < hello.ram_block_count; ++i) {
    const wire::RamBlock& block = hello.ram_blocks[i];
    blocks.push_back({block.hva, block.bytes, block.file_offset, block.fd_index});
  }
  return blocks;
}

absl::Status QemuSession::SendOffer(int userfaultfd_device) {
  const std::array<int, 1> fds = {userfaultfd_device};
  return Send(socket_.get(), wire::MessageType::kOffer, wire::Offer{}, fds);
}

absl::Status QemuSession::SendAccept() {
  EBB_ASSIGN_OR_RETURN(const auto state, vm_->OpenStateReadOnly());
  const std::array<int, 3> fds = {state[0].get(), state[1].get(), state[2].get()};
  return Send(socket_.get(), wire::MessageType::kAccept, wire::Offer{}, fds);
}

void QemuSession::SendRefuse(const std::string& reason) {
  wire::Refuse refuse = {};
  std::memcpy(refuse.reason, reason.data(), std::min(reason.size(), sizeof refuse.reason - 1));
  // A peer that does not read its answer loses it.
  Send(socket_.get(), wire::MessageType::kRefuse, refuse, {}).IgnoreError();
}

void QemuSession::SendRelease() {
  Send(socket_.get(), wire::MessageType::kRelease, wire::Offer{}, {}).IgnoreError();
}

OsResult QemuSession::Receive(absl::Status* error) {
  wire::Hello hello = {};
  ReceivedPacket packet;
  const OsResult result = ReceivePacket(socket_.get(), std::as_writable_bytes(std::span(&hello, 1)),
                                        1 + wire::kMaxRamBlocks, &packet);
  if (result == OsResult::kRetry) return result;
  const auto reject = [&] {
    rejected_fds_.insert(rejected_fds_.end(), std::make_move_iterator(packet.fds.begin()),
                         std::make_move_iterator(packet.fds.end()));
  };
  if (result == OsResult::kGone) {
    reject();
    return result;
  }
  if (result != OsResult::kDone || packet.bytes != sizeof hello) {
    *error = absl::InvalidArgumentError("it sent something that is not a hello");
    reject();
    return OsResult::kFailed;
  }
  *error = vm_ == nullptr && incoming_ == nullptr
               ? CheckHello(hello, packet.fds.size())
               : absl::InvalidArgumentError("it sent a second hello");
  if (!error->ok()) {
    reject();
    return OsResult::kFailed;
  }
  hello_ = hello;
  hello_fds_ = std::move(packet.fds);
  return OsResult::kDone;
}

absl::Status QemuSession::CheckHello(const wire::Hello& hello, size_t fds) {
  if (hello.header.magic != wire::kMagic || hello.header.version != wire::kVersion) {
    return absl::InvalidArgumentError(
        absl::StrFormat("its libebb-qemu.so speaks version %d of the hand-over protocol, this ebbd "
                        "%d; start the VM "
                        "with the library of this ebbd",
                        hello.header.version, wire::kVersion));
  }
  if (hello.header.type != static_cast<uint16_t>(wire::MessageType::kHello) ||
      hello.header.size != sizeof hello) {
    return absl::InvalidArgumentError("its hello is malformed");
  }
  if (hello.ram_block_count < 1 || hello.ram_block_count > wire::kMaxRamBlocks ||
      hello.memfd_count < 1 || hello.memfd_count > wire::kMaxRamBlocks ||
      fds != 1 + hello.memfd_count) {
    return absl::InvalidArgumentError("its hello does not match the descriptors that came with it");
  }
  EBB_ASSIGN_OR_RETURN(vm_name_, Text(hello.vm_name, "VM name"));
  if (vm_name_.empty() || !std::all_of(vm_name_.begin(), vm_name_.end(), IsNameCharacter)) {
    vm_name_.clear();
    return absl::InvalidArgumentError(
        "its VM name may only have letters, digits, '_', '.' and '-'");
  }
  return Text(hello.qmp_path, "QMP path").status();
}

std::vector<UniqueFd> QemuSession::TakeDescriptors() {
  std::vector<UniqueFd> fds = std::exchange(rejected_fds_, {});
  fds.insert(fds.end(), std::make_move_iterator(hello_fds_.begin()),
             std::make_move_iterator(hello_fds_.end()));
  hello_fds_.clear();
  fds.push_back(std::move(socket_));
  return fds;
}

absl::Status QemuSession::LookForIncomingMigration() {
  EBB_ASSIGN_OR_RETURN(const bool awaited, IncomingMigration::IsAwaitedBy(peer_.pid));
  if (!awaited) return absl::OkStatus();
  const std::string qmp_path = QmpPath();
  if (qmp_path.empty()) {
    return absl::FailedPreconditionError(
        "it was started with -incoming, and without a QMP socket (qmp=PATH) ebbd cannot see when "
        "its migration is over");
  }
  incoming_ = std::make_unique<IncomingMigration>(vm_name_, qmp_path, peer_.pid);
  return absl::OkStatus();
}

int QemuSession::qmp() const {
  if (incoming_ != nullptr) return incoming_->fd();
  return barrier_ != nullptr ? barrier_->fd() : -1;
}

void QemuSession::OnQmpReadable() {
  if (incoming_ != nullptr) {
    incoming_->OnReadable();
  } else if (barrier_ != nullptr) {
    barrier_->OnReadable();
  }
}

absl::Status QemuSession::Attach(WakeEvent* peers_wake, OpenGuard* open_guard,
                                 const HostTiers& tiers) {
  if ((hello_.flags & wire::kHelloCarriesState) != 0) {
    return absl::FailedPreconditionError(
        "it was attached to an ebbd that was killed, and this version of ebbd cannot take it over: "
        "what was swapped out is gone. Destroy the VM and start it again");
  }
  EBB_ASSIGN_OR_RETURN(const std::vector<std::string> command_line, CommandLine(peer_.pid));
  EBB_RETURN_IF_ERROR(CheckCannotExec(hello_.qemu_version, command_line));
  EBB_RETURN_IF_ERROR(CheckIsUserfaultfd(hello_fds_.front().get()));
  for (size_t i = 1; i < hello_fds_.size(); ++i) {
    EBB_RETURN_IF_ERROR(InspectMemfd(hello_fds_[i].get()).status());
  }
  // From here on they are of kinds whose close does not wait.
  std::vector<UniqueFd> fds = std::exchange(hello_fds_, {});
  QemuMemory::Handles handles;
  handles.userfaultfd = std::move(fds.front());
  handles.memfds.assign(std::make_move_iterator(fds.begin() + 1),
                        std::make_move_iterator(fds.end()));
  handles.pid = peer_.pid;
  Vm::Parts parts;
  parts.name = vm_name_;
  parts.pid = peer_.pid;
  EBB_ASSIGN_OR_RETURN(pidfd_, OpenPidfd(peer_.pid));
  EBB_ASSIGN_OR_RETURN(parts.pidfd, OpenPidfd(peer_.pid));
  EBB_ASSIGN_OR_RETURN(handles.pidfd, OpenPidfd(peer_.pid));

  EBB_ASSIGN_OR_RETURN(parts.ram, CheckRam(peer_.pid, BlocksOf(hello_), handles.memfds));
  EBB_RETURN_IF_ERROR(ForbidOpening(handles.memfds, parts.ram, open_guard));
  EBB_RETURN_IF_ERROR(CheckRoomFor(parts.ram.layout.pages()));
  EBB_ASSIGN_OR_RETURN(parts.memory, QemuMemory::Open(std::move(handles), parts.ram.layout));

  std::unique_ptr<QmpBarrier> barrier = MakeBarrier(peers_wake);
  QmpBarrier* const qmp = barrier.get();
  parts.barrier = std::move(barrier);
  if (qmp == nullptr) parts.barrier = std::make_unique<GraceTime>();
  parts.tiers = tiers;
  EBB_ASSIGN_OR_RETURN(std::unique_ptr<Vm> vm, Vm::Start(std::move(parts)));
  vm_ = std::move(vm);
  barrier_ = qmp;
  if (qmp != nullptr) qmp->SetCompletedCallback([vm = vm_.get()] { vm->BarrierCompleted(); });
  return absl::OkStatus();
}

// Only now, so that a VM that is refused, and asks again and again, is not in anybody's way.
absl::Status QemuSession::ForbidOpening(const std::vector<UniqueFd>& memfds, const VmRam& ram,
                                        OpenGuard* guard) {
  if (guard == nullptr) return absl::OkStatus();
  absl::StatusOr<OpenGuard::Ban> ban = guard->Forbid(memfds);
  if (!ban.ok()) {
    return absl::UnavailableError(
        absl::StrFormat("the kernel does not keep others from opening guest RAM (%s)",
                        std::string(ban.status().message())));
  }
  ban_ = *std::move(ban);
  // Who came in between was not seen yet.
  EBB_ASSIGN_OR_RETURN(const FileUsers users, UsersOf(ram.files));
  return CheckStillAllowed(peer_.pid, ram, users);
}

std::string QemuSession::QmpPath() const { return Text(hello_.qmp_path, "QMP path").value_or(""); }

// None without a QMP path: then a grace time takes the barrier's place.
std::unique_ptr<QmpBarrier> QemuSession::MakeBarrier(WakeEvent* peers_wake) const {
  QmpBarrier::Options options;
  options.vm_name = vm_name_;
  options.qmp_path = QmpPath();
  if (options.qmp_path.empty()) return nullptr;
  options.pid = peer_.pid;
  options.peers_wake = peers_wake;
  return std::make_unique<QmpBarrier>(std::move(options));
}

}  // namespace ebb
