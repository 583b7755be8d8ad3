// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "hostd/os/guest_memory.h"
#include "hostd/os/wake_event.h"
#include "hostd/swap/reclaim.h"
#include "hostd/swap/reclaim_alarm.h"
#include "hostd/swap/residency.h"
#include "hostd/swap/shared_swap_state.h"
#include "hostd/vm/fault_thread.h"
#include "hostd/vm/mover.h"
#include "tests/hammer/guest.h"
#include "tests/hammer/guest_barrier.h"
#include "tests/hammer/tiers.h"
#include "tests/synthetic/random.h"

namespace ebb::hammer {

// The code under test: everything ebbd does to the pages of one VM, in a hurry. Without a disk with
// two reclaimers, so that a page is claimed by one while the other still holds an older claim; with
// one of them where there is a disk, whose writes belong to one. Thread-safe.
class PageProtocol {
  using Random = synthetic::Random;

 public:
  static absl::StatusOr<std::unique_ptr<PageProtocol>> Start(Guest* guest,
                                                             const GuestOptions& options);
  ~PageProtocol();

  // Takes nothing any more and brings everything back, as a detach does. The error says what is
  // left over: a page, a record or its storage.
  absl::Status BringAllBack(int64_t timeout_ns);

  const SwapStats& stats() const { return shared_state_->state().stats(); }
  const WatchedDisk::Counts& disk_counts() const { return tiers_->counts(); }
  uint64_t barriers() { return barrier_.Status().count; }
  // The page's word, for a person.
  std::string Describe(PageIndex page) const;

 private:
  // One queue for each thread that reads the disk; null: there is none.
  struct Reads {
    std::unique_ptr<DiskQueue> fault_thread;
    std::unique_ptr<DiskQueue> mover;
    std::unique_ptr<DiskQueue> prefetch;
  };
  PageProtocol(Guest* guest, std::unique_ptr<Tiers> tiers, std::unique_ptr<GuestMemory> memory,
               std::unique_ptr<SharedSwapState> shared_state, Reads reads,
               const GuestOptions& options);

  void RunReclaim(Reclaim* reclaim, size_t number, uint64_t seed);
  void ChooseTarget(Random* random);
  bool IsAhead() const;
  bool NothingStored() const;
  void RunPrefetch(std::unique_ptr<DiskQueue> reads, uint64_t seed);
  void Prefetch(SwapIn* swap_in, Random* random);
  void EndReads(SwapIn* swap_in);
  bool IsBusy() const;
  absl::Status CheckNothingLeft() const;

  Guest* const guest_;
  const int64_t slowness_;
  const std::unique_ptr<Tiers> tiers_;
  const std::unique_ptr<GuestMemory> memory_;
  const std::unique_ptr<SharedSwapState> shared_state_;
  Residency residency_;
  ReclaimAlarm alarm_;
  GuestBarrier barrier_;
  Mover mover_;
  FaultThread fault_thread_;

  // Records and pool belong to one reclaimer at a time.
  // Not a Mutex: it stands for there being one reclaim thread a VM, and that one may wait.
  std::mutex turn_;
  Reclaim first_reclaim_;
  Reclaim second_reclaim_;
  std::atomic<uint64_t> target_{UINT64_MAX};
  std::atomic<int64_t> target_chosen_ns_{0};

  // Everything is to come back, and nothing more to go.
  std::atomic<bool> ending_{false};
  // Of what was stored nothing is left.
  std::atomic<bool> nothing_stored_{false};
  std::atomic<bool> stopping_{false};
  WakeEvent stop_event_;
  std::vector<std::thread> threads_;
};

}  // namespace ebb::hammer
