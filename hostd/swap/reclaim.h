// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <vector>

#include "hostd/os/guest_memory.h"
#include "hostd/swap/drop.h"
#include "hostd/swap/inflow.h"
#include "hostd/swap/io_barrier.h"
#include "hostd/swap/reclaim_plan.h"
#include "hostd/swap/registration.h"
#include "hostd/swap/residency.h"
#include "hostd/swap/store_pages.h"
#include "hostd/swap/swap_state.h"
#include "hostd/swap/writeback.h"

namespace ebb {

// Takes what reclaim has prepared and finishes it at the fault thread's priority.
class DropSink {
 public:
  virtual ~DropSink() = default;
  // May wait until earlier work is done; reclaim owns no page meanwhile. At most one batch of
  // StorePages; dropped in parts of kDropBatchPages.
  virtual void Submit(std::vector<StoredPage> drop, std::vector<ClaimedPage> give_back) = 0;
};

// Finds pages nobody needs and takes them through Cooling, Guarded and the ready reserve to the
// point where they can be dropped: a pipeline of three queues of small cohorts, filled by a hand
// that goes round the VM's RAM. Not thread-safe: it belongs to the reclaim thread, but for
// Status().
class Reclaim {
 public:
  // Pages that are stored before the first of them is dropped.
  static constexpr uint64_t kCohortPages = 64;
  // How far below its target reclaim may take a VM: what the sink has not dropped yet still counts
  // as resident.
  static constexpr uint64_t kMaxTakenTooMuch = 1024;

  struct Parts {
    GuestMemory* memory;
    SwapState* state;
    Residency* residency;
    IoBarrier* barrier;
    DropSink* sink;
  };
  explicit Reclaim(const Parts& parts);

  // Does what is to be done now, in steps short enough to react. Returns how long to wait for the
  // next pass, 0 when there is more to do. `once_target` asks for residency at or below it besides
  // the limit; UINT64_MAX for none.
  int64_t RunPass(int64_t now_ns, uint64_t once_target);

  // Gives every claimed page back and empties the queues.
  void GiveUp();
  // After GiveUp, with every page back in place.
  bool Unregister() { return registration_.UnregisterAll(); }

  struct Status {
    uint64_t cooling = 0;
    uint64_t guarded = 0;
    uint64_t ready = 0;
    uint64_t reserve_target = 0;
  };
  Status status() const;
  // The pool has no room: what reclaim would store waits.
  bool PoolIsFull() const { return pool_is_full_.load(std::memory_order_relaxed); }

  // Pages of one run that entered a state together, ascending.
  struct Cohort {
    std::vector<ClaimedPage> pages;
    int64_t since_ns = 0;  // Guarded and ready: when the protection was in place
  };
  // All claimed pages: cooling, guarded, ready. Only on the thread that runs passes.
  std::vector<Cohort> Queued() const;

 private:
  // A queue of cohorts that knows how many pages it holds.
  struct Queue {
    std::deque<Cohort> cohorts;
    std::atomic<uint64_t> pages{0};

    void Push(Cohort cohort);
    Cohort Pop();
  };

  ReclaimPlan Plan(int64_t now_ns, uint64_t once_target);
  void Cool(uint64_t wanted, int64_t now_ns);
  void CoolRun(PageRange run, int64_t now_ns);
  void Guard(uint64_t wanted, int64_t cooled_before_ns);
  void GuardCohort(Cohort cohort);
  void PassBarrier(int64_t now_ns);
  void SwapOut(uint64_t wanted, int64_t now_ns);
  bool WriteBack(int64_t now_ns);
  void SubmitWritten();

  const Parts parts_;
  Registration registration_;
  Writeback writeback_;
  StorePages store_pages_;
  Inflow inflow_;
  PageIndex hand_;
  int64_t round_began_ns_ = 0;      // of what does not compress
  int64_t pool_full_until_ns_ = 0;  // until then nothing is stored, or until less is in the pool:
  uint64_t pool_full_bytes_ = 0;
  uint64_t pages_to_drop_ = 0;  // of the reserve, because somebody has found no memory
  Queue cooling_;
  Queue guarded_;
  Queue ready_;
  std::atomic<uint64_t> reserve_target_{0};
  std::atomic<bool> pool_is_full_{false};
};

}  // namespace ebb
