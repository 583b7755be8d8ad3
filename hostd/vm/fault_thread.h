// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <thread>

#include "hostd/base/units.h"
#include "hostd/os/guest_memory.h"
#include "hostd/os/wake_event.h"
#include "hostd/swap/fault.h"
#include "hostd/swap/residency.h"
#include "hostd/swap/swap_state.h"

namespace ebb {

// Wakes the reclaim thread, if it sleeps, at the price of one atomic load if it does not.
class ReclaimAlarm {
 public:
  void Ring() {
    if (sleeping_.load(std::memory_order_relaxed)) event_.Set();
  }
  void RingAlways() { event_.Set(); }
  // Reclaim thread: sleeps until the alarm rings or the time has passed.
  void Sleep(int64_t ns);

 private:
  WakeEvent event_;
  std::atomic<bool> sleeping_{false};
};

// Reads a VM's userfaultfd and answers. It never waits for anything but the next message: what
// cannot be answered now (the memory map is changing, no memory, the VM is being paced, a lost
// page) is put aside and looked at again. Discards are handled in the order they were read.
class FaultThread {
 public:
  struct Parts {
    GuestMemory* memory;
    SwapState* state;
    Residency* residency;
    ReclaimAlarm* reclaim;
  };
  FaultThread(std::string name, const Parts& parts);
  ~FaultThread() { Stop(); }

  void Start();
  void Stop();

 private:
  // A fault that waits to be looked at again.
  struct Fault {
    PageIndex page;
    FaultMessage::Kind kind = FaultMessage::Kind::kMissing;
    int64_t read_ns = 0;         // when its message was read
    int64_t due_ns = 0;          // look at it again then
    int64_t paced_since_ns = 0;  // when pacing began; 0: not paced
    bool pacing_over = false;    // a fault is paced once, whatever else delays it
    int64_t backoff_ns = 0;      // how long it was put aside last
  };

  void Run();
  void Handle(const GuestMessage& message, int64_t now_ns);
  void Serve(Fault fault, int64_t now_ns);
  bool Pace(Fault* fault, bool swapped, int64_t now_ns);
  void NoteServed(const Fault& fault, bool swapped, uint64_t zero_filled_before);
  void PutAside(Fault fault, int64_t due_ns);
  void PutAsideLonger(Fault fault, int64_t first_ns, int64_t max_ns, int64_t now_ns);
  void ServeDue(int64_t now_ns);
  int64_t UntilNextDue(int64_t now_ns) const;

  const std::string name_;
  const Parts parts_;
  FaultHandler handler_;
  WakeEvent stop_event_;
  std::atomic<bool> stopping_{false};
  std::atomic<bool> ended_{false};

  // Fault thread only. More threads than this can hardly fault at once; if they do, the excess is
  // woken and faults again.
  std::array<Fault, 256> aside_;
  size_t aside_count_ = 0;

  std::thread thread_;
};

}  // namespace ebb
