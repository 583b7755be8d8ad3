// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "hostd/base/event_log.h"

namespace ebb {

// One VM as people and tools see it. Bytes unless named otherwise; counters since attach.
struct VmStatus {
  std::string name;
  int pid = 0;
  // running; detaching: everything is being brought back; held: a page cannot be produced;
  // detached: by hand, until it is attached again (what is not about its RAM or limit is 0).
  std::string state;
  std::string held_reason;  // empty unless held
  uint64_t held_pages = 0;
  std::string
      detach_error;  // why the last detach did not succeed; empty: it did, or none was tried

  uint64_t ram_bytes = 0;
  uint64_t limit_bytes = 0;              // 0: no limit
  uint64_t guarantee_bytes = 0;          // stays resident, if it is used; 0: none
  uint64_t weight = 0;                   // its share of the host's budget, by the size of its RAM
  uint64_t planned_bytes = 0;            // what it is to cost the host; 0: there is no budget
  uint64_t target_bytes = 0;             // the lower of limit and plan, resident; 0: neither
  uint64_t resident_bytes = 0;           // of guest RAM, in the RAM memfds
  uint64_t swapped_bytes = 0;            // guest pages held by ebbd, uncompressed
  uint64_t swap_out_target_bytes = 0;    // a running `swap-out --to`; 0: none
  uint64_t swap_in_remaining_bytes = 0;  // a running `swap-in`; 0: none

  uint64_t pool_original_bytes = 0;    // what the pool's objects are uncompressed
  uint64_t pool_compressed_bytes = 0;  // what they are compressed
  uint64_t pool_used_bytes = 0;        // memory the pool takes for them
  bool pool_full = false;              // what would be swapped out stays resident
  uint64_t disk_bytes = 0;             // swapped, and on the disk: uncompressed
  uint64_t disk_used_bytes = 0;        // of the disk, in blocks of 4096
  bool disk_full = false;              // the VM found no room there the last time
  uint64_t same_filled_pages = 0;      // swapped pages that need no storage
  uint64_t incompressible_pages = 0;   // resident: they saved too little when last tried
  uint64_t page_word_bytes = 0;
  uint64_t record_bytes = 0;

  uint64_t pages_swapped_out = 0;
  uint64_t pages_swapped_in = 0;
  uint64_t pages_given_back = 0;    // guarded, then touched before they were dropped
  uint64_t pages_discarded = 0;     // swapped pages the guest gave up (balloon)
  uint64_t pages_written_back = 0;  // to the disk
  uint64_t pages_read_ahead = 0;    // of those swapped in: came with another page's block

  uint64_t faults = 0;  // userfaultfd messages answered
  uint64_t zero_faults = 0;
  uint64_t write_protect_faults = 0;
  double fault_p50_us = 0;  // swap-ins: message read to page in place
  double fault_p99_us = 0;
  uint64_t paced_faults = 0;
  uint64_t paced_us_total = 0;
  uint64_t no_memory_faults = 0;  // had to wait: the host, or the VM's memory cgroup, was full

  std::string barrier_mode;  // qmp, grace
  uint64_t barriers = 0;
  double barrier_p50_ms = 0;
  double barrier_p99_ms = 0;
  uint64_t barrier_interval_ms = 0;

  uint64_t cooling_pages = 0;
  uint64_t guarded_pages = 0;
  uint64_t ready_pages = 0;  // past their barrier: the ready reserve
  uint64_t reserve_target_pages = 0;
};

// Where swapped pages can be, and how that does. Counters since ebbd was started.
struct TierStatus {
  std::string tier;          // pool, disk
  std::string path;          // of the disk
  std::string state;         // ok, full, failing, stalled
  std::string message;       // what is wrong and what to do, one sentence or two; empty: nothing is
  uint64_t max_bytes = 0;    // what it may take; 0: no maximum
  uint64_t taken_bytes = 0;  // of that: what VMs have for themselves
  uint64_t used_bytes = 0;   // of what is taken: in use
  uint64_t original_bytes = 0;  // guest memory there, uncompressed
  uint64_t reads = 0;           // of a block each; of the disk, as the next
  uint64_t failed_reads = 0;    // tried again up to twice, at once
  uint64_t written_blocks = 0;  // of 4096 bytes
  uint64_t failed_writes = 0;   // of up to 16 blocks each; nothing is lost by them
};

struct HostStatus {
  std::string version;
  int pid = 0;
  double uptime_s = 0;
  double started_s = 0;      // since 1970; stays the same while it runs
  std::string kernel;        // uname -r
  std::string state;         // running, stopping
  std::string stop_refused;  // why the last stop request was refused; empty: none was
  uint64_t vms = 0;
  uint64_t budget_bytes = 0;          // 0: none
  uint64_t budget_missing_bytes = 0;  // what the least that its VMs can do with exceeds it by
  uint64_t pool_max_bytes = 0;        // what all pools together may take; 0: no maximum
  uint64_t detached_vms = 0;          // since start, other than by QEMU's exit or a clean stop
};

// Who gives an order, as the kernel knows it.
struct Caller {
  uint32_t uid = 0;
  int pid = 0;  // when it connected; it may have exited since
};

// What the control API may ask of the daemon. Thread-safe; nothing here waits for a guest. An order
// that is accepted is logged, and is an event, with who gave it.
// Errors: NotFound for an unknown VM, InvalidArgument for a size out of range (the message gives
// the range), FailedPrecondition where the VM's state forbids it (the message says what to do).
class Host {
 public:
  virtual ~Host() = default;

  virtual HostStatus Status() const = 0;
  virtual std::vector<VmStatus> Vms() const = 0;
  virtual absl::StatusOr<VmStatus> Vm(const std::string& name) const = 0;
  // The pool, and the disk if there is one.
  virtual std::vector<TierStatus> Tiers() const = 0;
  virtual EventBatch EventsAfter(uint64_t seq) const = 0;

  // Keeps the VM's resident memory at or below `limit_bytes` from now on; 0 lifts the limit.
  virtual absl::Status SetLimit(const std::string& name, uint64_t limit_bytes,
                                const Caller& caller) = 0;
  // What all VMs together may cost the host from now on; 0: there is no budget.
  virtual absl::Status SetBudget(uint64_t budget_bytes, const Caller& caller) = 0;
  // So much of the VM stays resident, if it is used, whatever the budget; 0: no guarantee.
  virtual absl::Status SetGuarantee(const std::string& name, uint64_t guarantee_bytes,
                                    const Caller& caller) = 0;
  // Its share of the budget, compared with other VMs of the same size: 1 to 10000.
  virtual absl::Status SetWeight(const std::string& name, uint64_t weight,
                                 const Caller& caller) = 0;
  // Swaps out once, down to `to_bytes` resident, then leaves the VM alone. Returns at once;
  // progress is in VmStatus::swap_out_target_bytes.
  virtual absl::Status SwapOut(const std::string& name, uint64_t to_bytes,
                               const Caller& caller) = 0;
  // Brings pages back, as many as the VM's limit and the host's memory allow. Returns at once;
  // progress is in VmStatus::swap_in_remaining_bytes.
  virtual absl::Status SwapIn(const std::string& name, const Caller& caller) = 0;
  // Brings everything back, unregisters the VM's memory and leaves it alone until it is attached
  // again. Returns at once; progress is in VmStatus::state and swapped_bytes.
  virtual absl::Status Detach(const std::string& name, const Caller& caller) = 0;
  // Lets a VM that was detached by hand come back, with the limit it had. Its library asks within
  // 30 s.
  virtual absl::Status Attach(const std::string& name, const Caller& caller) = 0;
};

}  // namespace ebb
