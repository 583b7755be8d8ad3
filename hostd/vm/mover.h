// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "hostd/base/mutex.h"
#include "hostd/os/guest_memory.h"
#include "hostd/swap/drop.h"
#include "hostd/swap/reclaim.h"
#include "hostd/swap/residency.h"
#include "hostd/swap/swap_in.h"
#include "hostd/swap/swap_state.h"

namespace ebb {

// A VM's mover thread: does at the fault thread's priority what owns pages without a fault. It
// drops what reclaim has stored, gives pages back, and brings pages back in bulk. Thread-safe.
class Mover : public DropSink {
 public:
  // `reads` may be null where there is no disk.
  Mover(std::string name, GuestMemory* memory, SwapState* state, Residency* residency,
        std::unique_ptr<DiskQueue> reads = nullptr);
  ~Mover() override { Stop(); }

  void Start();
  void Stop();

  // Waits while several batches are under way, so that stored copies do not pile up.
  void Submit(std::vector<StoredPage> drop, std::vector<ClaimedPage> give_back) override;

  // Starts to swap pages in, in address order, as long as residency is below `until_resident`
  // pages and the host has memory to spare. Replaces a bring-back that is under way.
  void BringBack(uint64_t until_resident);
  // The same once BeginBringBack is called: by the thread that submits batches, when it will submit
  // nothing more that was decided before. What is dropped behind a bring-back's back stays out.
  void AskForBringBack(uint64_t until_resident);
  void BeginBringBack();
  void CancelBringBack();

  enum class BringBackState {
    kNone,   // none was asked for
    kAsked,  // and not begun
    kRunning,
    kDone,      // everything is back
    kAtLimit,   // `until_resident` was reached
    kNoMemory,  // the host or the VM's memory cgroup is full
    kFailed,    // some pages cannot be produced or put in place; the others are back
  };
  BringBackState bring_back_state() const;

  // No batch is queued or under way.
  bool Idle() const;

 private:
  struct Batch {
    std::vector<StoredPage> drop;
    std::vector<ClaimedPage> give_back;
  };

  void Run();
  void SetBringBack(BringBackState state, uint64_t until_resident);
  void Finish(const Batch& batch);
  // Where a bring-back is.
  struct Progress {
    uint64_t request = 0;
    uint64_t until_resident = 0;
    PageIndex cursor;
    uint64_t failed_pages = 0;
    bool again = false;      // some pages are to be tried once more
    bool no_memory = false;  // one that came from the disk found none
    bool pause = false;      // the VM's memory map is changing, or the disk is at work
  };
  // Swaps in a few pages; what the bring-back's state is afterwards.
  BringBackState BringBackStep(Progress* progress);
  BringBackState EndRound(Progress* progress);
  // Finishes pages that the disk has been read for.
  void EndReads(Progress* progress);
  void FinishStep(const Progress& progress, BringBackState state);

  // Constant after construction.
  const std::string name_;
  GuestMemory* const memory_;
  SwapState* const state_;
  Residency* const residency_;

  mutable Mutex mutex_{"Mover::mutex_"};
  CondVar changed_;
  std::deque<Batch> batches_ ABSL_GUARDED_BY(mutex_);
  bool busy_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  BringBackState bring_back_ ABSL_GUARDED_BY(mutex_) = BringBackState::kNone;
  Progress progress_ ABSL_GUARDED_BY(mutex_);

  SwapIn swap_in_;  // mover thread only
  std::thread thread_;
};

}  // namespace ebb
