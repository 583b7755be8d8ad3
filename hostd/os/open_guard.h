// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "hostd/base/mutex.h"
#include "hostd/base/unique_fd.h"
#include "hostd/os/process.h"
#include "hostd/os/wake_event.h"

namespace ebb {

// Keeps everybody, this process too, from opening certain memfds: who may look at a process can
// open what it has open by /proc/PID/fd/N, and map it. Descriptors that exist go on as they are,
// and so does who gets one passed.
//
// The kernel asks for each open (fanotify), and who opens waits for the answer; a thread of its own
// gives it. Where ebbd dies the kernel lets everybody open again.
class OpenGuard {
 public:
  // Fails where the kernel does not ask, or not us; it is tried. Start it after the last fork.
  static absl::StatusOr<std::unique_ptr<OpenGuard>> Start();
  ~OpenGuard();
  OpenGuard(const OpenGuard&) = delete;
  OpenGuard& operator=(const OpenGuard&) = delete;

  // While it lives, its files cannot be opened. On the thread that calls Forbid; it must not
  // outlive the guard.
  class Ban {
   public:
    Ban() = default;
    Ban(Ban&& other) noexcept
        : guard_(std::exchange(other.guard_, nullptr)), files_(std::move(other.files_)) {}
    Ban& operator=(Ban&& other) noexcept {
      Lift();
      guard_ = std::exchange(other.guard_, nullptr);
      files_ = std::move(other.files_);
      return *this;
    }
    ~Ban() { Lift(); }
    void Lift();

   private:
    friend class OpenGuard;
    OpenGuard* guard_ = nullptr;
    std::vector<UniqueFd> files_;  // what a mark is taken off by
  };
  absl::StatusOr<Ban> Forbid(const std::vector<UniqueFd>& memfds);

  // An open that was refused.
  struct Refusal {
    FileId file;
    int pid = 0;
    std::string program;  // as the process calls itself; empty: not known
  };
  struct Refusals {
    std::vector<Refusal> some;
    uint64_t others = 0;  // more than are kept
  };
  // Those since the last call. On any thread.
  Refusals TakeRefusals();

 private:
  static constexpr size_t kMaxKept = 16;

  explicit OpenGuard(UniqueFd group);
  absl::Status Try();
  void Run();
  void AnswerPending();
  void Refuse(int opened, int pid);
  void Note(Refusal refusal);
  absl::Status Mark(const UniqueFd& file);
  void Unmark(const UniqueFd& file);

  const UniqueFd group_;  // fanotify's
  WakeEvent stop_event_;
  std::atomic<bool> stopping_{false};
  // Two may forbid the same file. Only on the thread that calls Forbid.
  std::map<FileId, int> bans_;

  Mutex mutex_{"OpenGuard::mutex_"};
  Refusals refusals_ ABSL_GUARDED_BY(mutex_);

  std::thread thread_;
};

}  // namespace ebb
