// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "hostd/base/units.h"
#include "hostd/os/guest_memory.h"
#include "hostd/swap/fault.h"
#include "hostd/swap/memory_shortage.h"
#include "hostd/swap/reclaim_alarm.h"
#include "hostd/swap/residency.h"
#include "hostd/swap/swap_state.h"

namespace ebb {

// Answers a VM's messages. It never waits: what cannot be answered now (the memory map is changing,
// no memory, the VM is being paced, a lost page) is put aside and looked at again. Discards are
// handled in the order they were read. Used by one thread; allocates nothing.
class FaultServer {
 public:
  struct Parts {
    GuestMemory* memory;
    SwapState* state;
    Residency* residency;
    ReclaimAlarm* reclaim;
  };
  // `reads` as for SwapIn.
  explicit FaultServer(const Parts& parts, std::unique_ptr<DiskQueue> reads = nullptr)
      : parts_(parts), handler_(parts.memory, parts.state, std::move(reads)) {}

  // Reads what is pending, answers it, and looks again at what is due. False when nothing was
  // pending: then wait for a message, or for reads_fd(), UntilNextDue at most.
  bool ServePending(int64_t now_ns);
  // How long until something put aside is due; -1 when nothing is.
  int64_t UntilNextDue(int64_t now_ns) const;
  // Readable when the disk has answered; -1 where there is none.
  int reads_fd() const { return handler_.reads_fd(); }

  // A fault that waits to be looked at again.
  struct Fault {
    PageIndex page;
    FaultMessage::Kind kind = FaultMessage::Kind::kMissing;
    int64_t read_ns = 0;         // when its message was read
    int64_t due_ns = 0;          // look at it again then
    int64_t paced_since_ns = 0;  // when pacing began; 0: not paced
    bool pacing_over = false;    // a fault is paced once, whatever else delays it
    int64_t backoff_ns = 0;      // how long it was put aside last
    bool no_memory = false;      // it has found none, and is counted
  };
  std::span<const Fault> aside() const { return std::span(aside_).first(aside_count_); }
  bool is_short_of_memory() const { return shortage_.lasts(); }

 private:
  void Handle(const GuestMessage& message, int64_t now_ns);
  void Serve(Fault fault, int64_t now_ns);
  void Finish(const Fault& fault, PageOutcome outcome, int64_t now_ns);
  void BeginShortage(int64_t now_ns);
  bool MustLeaveRoom(int64_t now_ns);
  void AwaitMemory(Fault fault, int64_t now_ns);
  bool FinishReads(int64_t now_ns);
  bool Pace(Fault* fault, bool swapped, int64_t now_ns);
  void NoteSwappedIn(const Fault& fault);
  void NoteZeroFilled(const Fault& fault, uint64_t zero_filled_before);
  void RingIfAbove() const;
  void PutAside(Fault fault, int64_t due_ns);
  void PutAsideLonger(Fault fault, int64_t first_ns, int64_t max_ns, int64_t now_ns);
  void ServeDue(int64_t now_ns);

  const Parts parts_;
  FaultHandler handler_;
  // More threads than this can hardly fault at once; if they do, the excess is woken and faults
  // again.
  std::array<Fault, 256> aside_;
  size_t aside_count_ = 0;
  MemoryShortage shortage_;
  // Faults whose pages are being read from the disk.
  std::array<Fault, DiskReads::kMaxReads> reading_;
  size_t reading_count_ = 0;
};

}  // namespace ebb
