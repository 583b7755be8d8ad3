// SPDX-License-Identifier: MIT
#pragma once

#include <pthread.h>

#include <cstdint>

#include "qemu-plugin/options.h"
#include "qemu-plugin/owned_fd.h"
#include "qemu-plugin/packet.h"
#include "qemu-plugin/ram_blocks.h"
#include "qemu-plugin/status_log.h"

namespace ebb::plugin {

enum class Ram {
  kPresent,  // -plugin: all of it was mapped before the library was loaded
  kAwaited,  // LD_PRELOAD: QEMU has not started yet
};

// The connection of this QEMU to ebbd, for as long as QEMU lives. One thread attaches, waits for
// the end of the connection, and attaches again.
//
// What must outlive ebbd is kept here from Accept on:
//  1. The userfaultfd. Closing its last copy turns every swapped page into a zero page, silently.
//     It is closed in one place, at the end of a connection after which no Accept stands.
//  2. The three state memfds, by which the next ebbd finds the swapped pages.
// Both are plain ints, not OwnedFd: a destructor would run in exit(), while vCPUs still run.
// After Accept the library never ends the connection first: to ebbd that would mean QEMU is gone.
//
// Thread-bound to its own thread except for the public functions, which synchronise with it.
class Session {
 public:
  constexpr Session() = default;

  // Starts the thread. A later call replaces the options, for the next connection: there is never
  // a second session in a process. False if no thread can be created.
  bool Start(const Options& options, uint32_t qemu_version, Ram ram);

  // Waits until attached. False if ebbd refused, this VM cannot be served or the time is over.
  bool WaitUntilAttached(int seconds);

  // Call around a fork after which the child is QEMU (-daemonize): threads do not survive it.
  // The child gets a new thread if the old one had not found guest RAM yet.
  void BeforeFork();
  void AfterForkInParent();
  void AfterForkInChild();

 private:
  enum class Outcome { kPending, kAttached, kFailed };

  // How one connection, or the attempt at one, ended.
  enum class End {
    kNoDaemon,   // nobody listens
    kBrokenOff,  // the socket ended, or nothing sensible came, before ebbd's answer
    kRefused,    // ebbd does not want this VM, or this VM is not fit for it
    kLost,       // ebbd went away while attached
    kReleased,   // ebbd gave everything back
  };

  static void* ThreadMain(void* session);
  bool StartThread();
  void Run();
  void AwaitRam();
  Options CurrentOptions();
  void Report(Outcome outcome);
  void WaitAfter(End end);

  End Attempt(const Options& options);
  bool FindRamOrSay(RamLayout& ram);
  bool ProvideUserfaultfd(int device);
  End AwaitAnswer(int socket, const Options& options);
  bool KeepState(Packet& accept);
  End StayAttached(int socket, const Options& options);
  End Release(const Options& options);
  void DropUserfaultfd();

  // Shared with QEMU's main thread.
  pthread_mutex_t mutex_ = PTHREAD_MUTEX_INITIALIZER;
  pthread_cond_t outcome_changed_ = PTHREAD_COND_INITIALIZER;
  Options options_;
  Outcome outcome_ = Outcome::kPending;
  bool started_ = false;
  bool awaiting_ram_ = false;

  // Constant after Start.
  uint32_t qemu_version_ = 0;

  // The thread's own.
  static constexpr int kStateFds = 3;
  int userfaultfd_ = -1;
  int state_fds_[kStateFds] = {-1, -1, -1};
  bool attached_ = false;  // an Accept came, and no Release since
  int quick_wait_ms_ = 0;
  int slow_wait_ms_ = 0;
  StatusLog log_;
};

}  // namespace ebb::plugin
