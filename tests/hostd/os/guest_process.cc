// SPDX-License-Identifier: MIT
#include "tests/hostd/os/guest_process.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <numeric>
#include <span>
#include <thread>

#include "hostd/os/unix_socket.h"

#ifndef USERFAULTFD_IOC_NEW
#define USERFAULTFD_IOC_NEW _IO(0xAA, 0x00)  // linux/userfaultfd.h of 6.1
#endif

namespace ebb {
namespace {

struct Command {
  char what;
  std::byte value;
  uint64_t page;
  uint64_t count;
  uint64_t thread;
};
// An address follows, and a socket comes with it.
constexpr char kConnect = 'c';
struct Answer {
  uint64_t thread;
  std::byte value;
};

// The child: owns the mappings and the userfaultfd.
class Guest {
 public:
  Guest(int socket, int memfd, const std::vector<uint64_t>& mapping_pages)
      : socket_(socket), mapping_pages_(mapping_pages) {
    uint64_t offset = 0;
    for (const uint64_t pages : mapping_pages_) {
      // A guard page in between, so that the mappings are VMAs of their own.
      mmap(nullptr, kPageBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      void* memory = mmap(nullptr, PagesToBytes(pages), PROT_READ | PROT_WRITE, MAP_SHARED, memfd,
                          static_cast<off_t>(offset));
      if (memory == MAP_FAILED) _exit(1);
      mappings_.push_back(static_cast<volatile std::byte*>(memory));
      offset += PagesToBytes(pages);
    }
  }

  void Introduce() {
    const int device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
    const int uffd = ioctl(device, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);
    std::vector<uint64_t> hvas;
    for (const auto* mapping : mappings_) hvas.push_back(reinterpret_cast<uint64_t>(mapping));
    if (uffd < 0 ||
        !SendPacket(socket_, std::as_bytes(std::span(hvas)), std::span(&uffd, 1)).ok()) {
      _exit(1);
    }
  }

  void Run() {
    for (Command command; read(socket_, &command, sizeof command) == sizeof command;) {
      if (command.what == kConnect) {
        Connect(command);
      } else {
        std::thread([this, command] { Do(command); }).detach();
      }
    }
  }

 private:
  volatile std::byte* At(uint64_t page) {
    size_t mapping = 0;
    while (page >= mapping_pages_[mapping]) page -= mapping_pages_[mapping++];
    return mappings_[mapping] + PagesToBytes(page);
  }
  void Connect(const Command& command) {
    sockaddr_un address = {};
    ReceivedPacket packet;
    pollfd wait = {socket_, POLLIN, 0};
    poll(&wait, 1, GuestProcess::kDeadlineMs);
    if (ReceivePacket(socket_, std::as_writable_bytes(std::span(&address, 1)), 1, &packet) !=
            OsResult::kDone ||
        packet.fds.size() != 1) {
      _exit(1);
    }
    const bool connected =
        connect(packet.fds[0].get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
    const Answer answer = {command.thread, std::byte{connected}};
    if (write(socket_, &answer, sizeof answer) != sizeof answer) _exit(1);
  }
  void Do(const Command& command) {
    volatile std::byte* const at = At(command.page);
    Answer answer = {command.thread, {}};
    if (command.what == 'r') answer.value = *at;
    if (command.what == 'w') *at = command.value;
    if (command.what == 'd') {
      madvise(const_cast<std::byte*>(at), PagesToBytes(command.count), MADV_DONTNEED);
    }
    if (command.what == 'u') {
      mmap(const_cast<std::byte*>(at), PagesToBytes(command.count), PROT_READ | PROT_WRITE,
           MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    }
    if (write(socket_, &answer, sizeof answer) != sizeof answer) _exit(1);
  }

  const int socket_;
  const std::vector<uint64_t> mapping_pages_;
  std::vector<volatile std::byte*> mappings_;
};

}  // namespace

GuestProcess::GuestProcess(const std::vector<uint64_t>& mapping_pages) {
  const uint64_t pages = std::accumulate(mapping_pages.begin(), mapping_pages.end(), uint64_t{0});
  memfd_ = UniqueFd(memfd_create("ebb-test-ram", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  std::array<int, 2> sockets;
  if (ftruncate(memfd_.get(), static_cast<off_t>(PagesToBytes(pages))) != 0 ||
      socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets.data()) != 0) {
    return;
  }
  socket_ = UniqueFd(sockets[0]);
  UniqueFd theirs(sockets[1]);
  // A page that is fresh in the LRU batch of another CPU cannot be zapped from here.
  sched_getaffinity(0, sizeof affinity_, &affinity_);
  cpu_set_t here;
  CPU_ZERO(&here);
  CPU_SET(static_cast<size_t>(sched_getcpu()), &here);
  sched_setaffinity(0, sizeof here, &here);
  pid_ = fork();
  if (pid_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    socket_.Reset();
    Guest guest(theirs.get(), memfd_.get(), mapping_pages);
    guest.Introduce();
    guest.Run();
    _exit(0);
  }
  theirs.Reset();
  hvas_.resize(mapping_pages.size());
  pollfd wait = {socket_.get(), POLLIN, 0};
  ReceivedPacket packet;
  if (poll(&wait, 1, kDeadlineMs) == 1 &&
      ReceivePacket(socket_.get(), std::as_writable_bytes(std::span(hvas_)), 1, &packet) ==
          OsResult::kDone &&
      packet.fds.size() == 1) {
    userfaultfd_ = std::move(packet.fds[0]);
  }
}

GuestProcess::~GuestProcess() {
  Kill();
  sched_setaffinity(0, sizeof affinity_, &affinity_);
}

void GuestProcess::Kill() {
  if (pid_ <= 0) return;
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

size_t GuestProcess::Send(char what, uint64_t page, uint64_t count, std::byte value) {
  const Command command = {what, value, page, count, next_thread_};
  if (write(socket_.get(), &command, sizeof command) != sizeof command) return SIZE_MAX;
  return next_thread_++;
}

UniqueFd GuestProcess::Connect(const std::string& path) {
  const auto address = UnixAddress(path);
  UniqueFd connection = NewUnixSocket(SocketType::kSeqPacket);
  if (!address.ok() || !connection.valid()) return {};
  const size_t thread = Send(kConnect, 0, 0, {});
  const int fd = connection.get();
  if (!SendPacket(socket_.get(), std::as_bytes(std::span(&*address, 1)), std::span(&fd, 1)).ok() ||
      !Done(thread) || ByteRead(thread) == std::byte{0}) {
    return {};
  }
  return connection;
}

bool GuestProcess::Done(size_t thread, int timeout_ms) {
  while (answers_.count(thread) == 0) {
    pollfd wait = {socket_.get(), POLLIN, 0};
    Answer answer;
    if (poll(&wait, 1, timeout_ms) != 1) return false;
    if (read(socket_.get(), &answer, sizeof answer) != sizeof answer) return false;
    answers_[answer.thread] = answer.value;
  }
  return true;
}

}  // namespace ebb
