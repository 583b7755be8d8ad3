// SPDX-License-Identifier: MIT
#include "qemu-plugin/session.h"

#include <errno.h>
#include <signal.h>
#include <sys/stat.h>
#include <time.h>

#include "qemu-plugin/command_line.h"
#include "qemu-plugin/handshake.h"

namespace ebb::plugin {
namespace {

constexpr size_t kStackBytes = 256 << 10;

// Nobody listens, or ebbd restarts: guests may be waiting for pages.
constexpr int kQuickFirstMs = 100;
constexpr int kQuickMostMs = 1000;
// ebbd said no: it will hardly change its mind soon.
constexpr int kSlowFirstMs = 1000;
constexpr int kSlowMostMs = 30000;
constexpr int kAfterReleaseMs = 1000;

constexpr int kRamPollFirstMs = 50;
constexpr int kRamPollMostMs = 1000;

void SleepMs(int milliseconds) {
  timespec time = {.tv_sec = milliseconds / 1000, .tv_nsec = milliseconds % 1000 * 1000000L};
  while (clock_nanosleep(CLOCK_MONOTONIC, 0, &time, &time) == EINTR) {
  }
}

int BackOff(int& wait_ms, int first_ms, int most_ms) {
  wait_ms = wait_ms == 0 ? first_ms : wait_ms * 2;
  if (wait_ms > most_ms) wait_ms = most_ms;
  return wait_ms;
}

bool SameFile(int a, int b) {
  struct stat of_a, of_b;
  return fstat(a, &of_a) == 0 && fstat(b, &of_b) == 0 && of_a.st_dev == of_b.st_dev &&
         of_a.st_ino == of_b.st_ino;
}

// The reason goes to a log that people read: one line, printable.
void MakePrintable(char (&reason)[wire::kReasonBytes]) {
  reason[sizeof reason - 1] = '\0';
  for (char* c = reason; *c != '\0'; ++c) {
    if (*c < ' ' || *c > '~') *c = '?';
  }
}

}  // namespace

bool Session::Start(const Options& options, uint32_t qemu_version, Ram ram) {
  pthread_mutex_lock(&mutex_);
  options_ = options;
  bool ok = true;
  if (!started_) {
    qemu_version_ = qemu_version;
    awaiting_ram_ = ram == Ram::kAwaited;
    ok = started_ = StartThread();
  }
  pthread_mutex_unlock(&mutex_);
  return ok;
}

bool Session::StartThread() {
  pthread_attr_t attributes;
  if (pthread_attr_init(&attributes) != 0) return false;
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  // Not the default 8 MiB: -overcommit mem-lock=on would lock all of it.
  pthread_attr_setstacksize(&attributes, kStackBytes);
  // QEMU takes its signals by signalfd and kicks vCPUs by SIG_IPI: none may land here.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_t thread;
  int error = pthread_create(&thread, &attributes, ThreadMain, this);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  pthread_attr_destroy(&attributes);
  return error == 0;
}

void* Session::ThreadMain(void* session) {
  pthread_setname_np(pthread_self(), "ebb-session");
  static_cast<Session*>(session)->Run();
  return nullptr;
}

bool Session::WaitUntilAttached(int seconds) {
  timespec deadline;
  clock_gettime(CLOCK_MONOTONIC, &deadline);
  deadline.tv_sec += seconds;
  pthread_mutex_lock(&mutex_);
  int error = 0;
  while (outcome_ == Outcome::kPending && error != ETIMEDOUT) {
    error = pthread_cond_clockwait(&outcome_changed_, &mutex_, CLOCK_MONOTONIC, &deadline);
  }
  bool attached = outcome_ == Outcome::kAttached;
  pthread_mutex_unlock(&mutex_);
  return attached;
}

void Session::BeforeFork() { pthread_mutex_lock(&mutex_); }

void Session::AfterForkInParent() { pthread_mutex_unlock(&mutex_); }

void Session::AfterForkInChild() {
  // A thread that got further has given this process's userfaultfd to ebbd: the child of such a
  // fork is about to exec, or has no guest RAM (MADV_DONTFORK), and must stay silent.
  if (started_ && awaiting_ram_) started_ = StartThread();
  pthread_mutex_unlock(&mutex_);
}

Options Session::CurrentOptions() {
  pthread_mutex_lock(&mutex_);
  Options options = options_;
  pthread_mutex_unlock(&mutex_);
  // Not earlier: -daemonize changes the process id.
  FillVmName(kOwnCommandLine, options);
  return options;
}

void Session::Report(Outcome outcome) {
  pthread_mutex_lock(&mutex_);
  outcome_ = outcome;
  pthread_cond_broadcast(&outcome_changed_);
  pthread_mutex_unlock(&mutex_);
}

void Session::Run() {
  pthread_mutex_lock(&mutex_);
  bool await_ram = awaiting_ram_;
  pthread_mutex_unlock(&mutex_);
  if (await_ram) AwaitRam();
  for (;;) WaitAfter(Attempt(CurrentOptions()));
}

// RAM is complete when it looks the same twice: QEMU maps several memfds one after another.
void Session::AwaitRam() {
  RamLayout looks[2] = {};
  int wait_ms = 0;
  for (int look = 0;; look ^= 1) {
    RamSearch found = FindRam(looks[look]);
    if (found != RamSearch::kNone && SameBlocks(looks[0], looks[1])) break;
    if (found != RamSearch::kNone) wait_ms = 0;
    SleepMs(BackOff(wait_ms, kRamPollFirstMs, kRamPollMostMs));
  }
  pthread_mutex_lock(&mutex_);
  awaiting_ram_ = false;
  pthread_mutex_unlock(&mutex_);
}

void Session::WaitAfter(End end) {
  if (end == End::kReleased) return SleepMs(kAfterReleaseMs);
  const bool quick =
      end == End::kNoDaemon || end == End::kLost || (end == End::kBrokenOff && attached_);
  if (quick) return SleepMs(BackOff(quick_wait_ms_, kQuickFirstMs, kQuickMostMs));
  SleepMs(BackOff(slow_wait_ms_, kSlowFirstMs, kSlowMostMs));
}

Session::End Session::Attempt(const Options& options) {
  OwnedFd socket = ConnectToDaemon(options.socket_path);
  if (!socket.valid()) {
    if (attached_) {
      log_.Say("no ebbd at %s (%m); VM threads that touch a swapped page wait for it",
               options.socket_path);
    } else {
      log_.Say("no daemon at %s yet (%m)%s", options.socket_path,
               options.mode == Mode::kOptional ? "; the VM runs without overcommit" : "");
    }
    return End::kNoDaemon;
  }
  OwnedFd device = ReceiveOffer(socket.get());
  if (!device.valid()) {
    log_.Say("%s does not speak ebbd's protocol, version %u", options.socket_path,
             unsigned{wire::kVersion});
    return End::kBrokenOff;
  }
  RamLayout ram;
  if (!FindRamOrSay(ram) || !ProvideUserfaultfd(device.get())) return End::kRefused;
  device.Reset();

  const uint32_t flags = attached_ ? wire::kHelloCarriesState : 0;
  End end = End::kBrokenOff;
  if (SendHello(socket.get(), {options, ram, flags, qemu_version_}, userfaultfd_)) {
    // ebbd answers when the migration is over, which cannot begin before QEMU has started.
    if (CommandLineHas(kOwnCommandLine, "incoming")) Report(Outcome::kAttached);
    end = AwaitAnswer(socket.get(), options);
  }
  // No Accept came, so that ebbd has taken no page; or Release, so that it has brought all back.
  if (!attached_) DropUserfaultfd();
  return end;
}

bool Session::FindRamOrSay(RamLayout& ram) {
  switch (FindRam(ram)) {
    case RamSearch::kFound:
      return true;
    case RamSearch::kNone:
      log_.Say("guest RAM is not a shared memory-backend-memfd; no overcommit");
      break;
    case RamSearch::kTooMany:
      log_.Say("guest RAM has more than %u parts; no overcommit", wire::kMaxRamBlocks);
      break;
    case RamSearch::kNoDescriptor:
      log_.Say("guest RAM has a part without a writable descriptor; no overcommit");
      break;
  }
  Report(Outcome::kFailed);
  return false;
}

bool Session::ProvideUserfaultfd(int device) {
  if (userfaultfd_ >= 0) return true;
  OwnedFd fresh = CreateUserfaultfd(device);
  if (!fresh.valid()) {
    log_.Say("cannot create a userfaultfd (%m); no overcommit");
    Report(Outcome::kFailed);
    return false;
  }
  userfaultfd_ = fresh.Release();
  return true;
}

Session::End Session::AwaitAnswer(int socket, const Options& options) {
  Packet answer;
  if (ReceivePacket(socket, answer) != Received::kMessage) {
    log_.Say("ebbd broke the hand-over off");
    return End::kBrokenOff;
  }
  switch (answer.type()) {
    case wire::MessageType::kAccept:
      if (KeepState(answer)) return StayAttached(socket, options);
      log_.Say("ebbd brings other state than this VM's; waiting for one that knows it");
      return End::kRefused;
    case wire::MessageType::kRefuse:
      MakePrintable(answer.message.refuse.reason);
      log_.Say("refused: %s", answer.message.refuse.reason);
      Report(Outcome::kFailed);
      return End::kRefused;
    case wire::MessageType::kRelease:
      // An ebbd that needs no more than the userfaultfd to put everything back.
      if (!attached_) break;
      return Release(options);
    default:
      break;
  }
  log_.Say("ebbd answered with message %u; the hand-over is broken off",
           unsigned{answer.message.header.type});
  return End::kBrokenOff;
}

// False if this VM's state is somewhere else: what ebbd would make up anew has no swapped page.
bool Session::KeepState(Packet& accept) {
  const bool complete = accept.fd_count == kStateFds;
  if (attached_) {
    for (int i = 0; i < kStateFds; ++i) {
      if (!complete || !SameFile(state_fds_[i], accept.fds[i].get())) return false;
    }
    return true;
  }
  // ebbd has accepted and may take pages, so this is an attached VM in any case. Descriptors can
  // get lost, where QEMU is at its limit of open files.
  if (!complete) WriteLine("ebbd's state did not arrive; this VM cannot survive its restart");
  for (int i = 0; i < kStateFds && complete; ++i) state_fds_[i] = accept.fds[i].Release();
  return true;
}

Session::End Session::StayAttached(int socket, const Options& options) {
  attached_ = true;
  quick_wait_ms_ = slow_wait_ms_ = 0;
  log_.Say("VM %s attached", options.vm_name);
  Report(Outcome::kAttached);
  for (;;) {
    Packet packet;
    switch (ReceivePacket(socket, packet)) {
      case Received::kMessage:
        if (packet.type() == wire::MessageType::kRelease) return Release(options);
        break;
      case Received::kEnd:
        log_.Say("ebbd went away; VM threads that touch a swapped page wait for it");
        return End::kLost;
      case Received::kMalformed:
      case Received::kNothing:
        break;
    }
    log_.Say("ebbd sent something this version does not know; ignored");
  }
}

void Session::DropUserfaultfd() {
  OwnedFd(userfaultfd_).Reset();
  userfaultfd_ = -1;
}

Session::End Session::Release(const Options& options) {
  log_.Say("VM %s released", options.vm_name);
  for (int& fd : state_fds_) {
    OwnedFd(fd).Reset();
    fd = -1;
  }
  attached_ = false;
  return End::kReleased;
}

}  // namespace ebb::plugin
