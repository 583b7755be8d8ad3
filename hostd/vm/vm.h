// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "hostd/base/mutex.h"
#include "hostd/base/unique_fd.h"
#include "hostd/os/guest_memory.h"
#include "hostd/policy/budget_plan.h"
#include "hostd/swap/host_tiers.h"
#include "hostd/swap/io_barrier.h"
#include "hostd/swap/reclaim.h"
#include "hostd/swap/residency.h"
#include "hostd/swap/shared_swap_state.h"
#include "hostd/vm/attach_check.h"
#include "hostd/vm/entitlement.h"
#include "hostd/vm/fault_thread.h"
#include "hostd/vm/host.h"
#include "hostd/vm/mover.h"

namespace ebb {

// One attached VM: its memory, its swap state and its three threads (fault, mover, reclaim).
// Thread-safe. Destroy it only when QEMU has exited or the VM is detached: until then somebody must
// answer its faults.
class Vm {
 public:
  struct Parts {
    std::string name;
    int pid = 0;
    UniqueFd pidfd;
    VmRam ram;
    std::unique_ptr<GuestMemory> memory;
    std::unique_ptr<IoBarrier> barrier;
    HostTiers tiers;
  };
  // Starts the threads. Registers nothing yet: the VM runs untouched until reclaim wants pages.
  static absl::StatusOr<std::unique_ptr<Vm>> Start(Parts parts);
  ~Vm();

  const std::string& name() const { return name_; }
  int pid() const { return pid_; }
  const VmRam& ram() const { return ram_; }
  // QEMU has exited: nothing that is read about its pid is about this VM.
  bool exited() const;
  uint64_t ram_bytes() const { return PagesToBytes(memory_->pages()); }

  Entitlement& entitlement() { return entitlement_; }
  const Entitlement& entitlement() const { return entitlement_; }
  BudgetSignals Signals() const;

  // See Host for these two.
  absl::Status SwapOut(uint64_t to_bytes);
  absl::Status SwapIn();

  // Something happened to the VM's memory that forbids managing it any further.
  absl::Status CheckHealthy() const;

  // QEMU has unplugged the RAM of this memfd, and nobody but ebbd has it any more: frees what was
  // stored of it, and its memory. Any thread; as often as one likes.
  void ForgetUnplugged(size_t memfd);

  // Bytes of host memory it would take to bring everything back.
  uint64_t bytes_to_bring_back() const;

  // Starts to bring everything back and let go of the VM, because of `why`, unless that is under
  // way, or done: then false. `state()` tells how it goes.
  bool Detach(std::string why);
  enum class State {
    kRunning,
    kDetaching,
    kDetached,      // nothing is registered any more; the VM runs on without Ebb
    kDetachFailed,  // runs on attached; detach_error() says why
  };
  State state() const { return state_.load(); }
  void ResumeAfterFailedDetach() { state_.store(State::kRunning); }
  std::string detach_error() const;
  // Why the last detach was begun.
  std::string detach_reason() const;

  uint64_t held_pages() const;  // that cannot be produced now
  VmStatus Status() const;
  // Read-only descriptors of the swap state, for the library to keep.
  absl::StatusOr<std::array<UniqueFd, 3>> OpenStateReadOnly() const {
    return shared_state_->OpenReadOnly();
  }
  // Wakes reclaim: a barrier has completed.
  void BarrierCompleted() { reclaim_alarm_.Ring(); }

 private:
  // One queue for each thread that reads the disk; null: there is none.
  struct DiskQueues {
    std::unique_ptr<DiskQueue> fault_thread;
    std::unique_ptr<DiskQueue> mover;
  };
  static absl::StatusOr<DiskQueues> OpenDiskQueues(DiskTier* disk);
  Vm(Parts parts, std::unique_ptr<SharedSwapState> shared_state, DiskQueues reads);

  void RunReclaim();
  uint64_t OnceTarget(int64_t now_ns);
  absl::Status RunDetach();
  absl::Status BringAllBack();
  bool NothingSwapped() const;
  void ReportProgress(int64_t* last_ns) const;
  bool MayPace() const;
  void ReportPool(int64_t now_ns);
  void ReportNoMemory(int64_t now_ns);
  void ReportLosses();
  bool Stopping() const { return stopping_.load(std::memory_order_relaxed); }

  // Constant after construction; the objects are thread-safe.
  const std::string name_;
  const int pid_;
  const UniqueFd pidfd_;
  const VmRam ram_;
  const HostTiers tiers_;
  const std::unique_ptr<GuestMemory> memory_;
  const std::unique_ptr<IoBarrier> barrier_;
  const std::unique_ptr<SharedSwapState> shared_state_;
  SwapState* const swap_state_;  // of shared_state_

  Residency residency_;
  ReclaimAlarm reclaim_alarm_;
  Entitlement entitlement_;
  Mover mover_;
  FaultThread fault_thread_;
  Reclaim reclaim_;  // reclaim thread only, but for status()

  std::atomic<State> state_{State::kRunning};
  std::atomic<bool> detach_wanted_{false};
  std::atomic<bool> stopping_{false};
  // A one-time target in pages, UINT64_MAX for none, and what it has achieved.
  std::atomic<uint64_t> once_target_{UINT64_MAX};
  uint64_t once_best_ = UINT64_MAX;  // reclaim thread only, as the next
  int64_t once_best_ns_ = 0;
  // Not said again before.
  int64_t pool_report_ns_ = 0;
  int64_t no_memory_report_ns_ = 0;
  uint64_t no_memory_said_ = 0;  // faults of which it was said

  mutable Mutex mutex_{"Vm::mutex_"};
  std::string detach_error_ ABSL_GUARDED_BY(mutex_);
  std::string detach_reason_ ABSL_GUARDED_BY(mutex_);

  std::thread reclaim_thread_;
};

}  // namespace ebb
