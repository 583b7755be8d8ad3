// SPDX-License-Identifier: MIT
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "hostd/vm/vm.h"

namespace ebb {
namespace {

constexpr double kNsPerUsExact = 1e3;

const char* StateName(Vm::State state) {
  switch (state) {
    case Vm::State::kRunning:
    case Vm::State::kDetachFailed:
      return "running";
    case Vm::State::kDetaching:
    case Vm::State::kDetached:
      return "detaching";
  }
  return "?";
}

void AddCounters(const SwapStats& stats, VmStatus* status) {
  status->swapped_bytes = PagesToBytes(stats.swapped_pages);
  status->same_filled_pages = stats.same_filled_pages;
  status->pages_swapped_out = stats.swapped_out;
  status->pages_swapped_in = stats.swapped_in;
  status->pages_given_back = stats.given_back;
  status->pages_discarded = stats.discarded;
  status->pages_written_back = stats.written_back;
  status->pages_read_ahead = stats.read_ahead;
  status->faults = stats.faults;
  status->zero_faults = stats.zero_faults;
  status->write_protect_faults = stats.write_protect_faults;
  status->fault_p50_us =
      static_cast<double>(stats.fault_latency.PercentileNs(0.50)) / kNsPerUsExact;
  status->fault_p99_us =
      static_cast<double>(stats.fault_latency.PercentileNs(0.99)) / kNsPerUsExact;
  status->paced_faults = stats.paced_faults;
  status->paced_us_total = stats.paced_ns / static_cast<uint64_t>(kNsPerUs);
  status->no_memory_faults = stats.no_memory;
}

}  // namespace

uint64_t Vm::held_pages() const { return swap_state_->stats().lost_pages; }

BudgetSignals Vm::Signals() const {
  const SwapStats& stats = swap_state_->stats();
  const Entitlement::Orders orders = entitlement_.orders();
  BudgetSignals signals;
  signals.ram = ram_bytes();
  signals.weight = orders.weight;
  signals.guarantee = Entitlement::LimitFor(orders.guarantee);
  if (orders.limit != 0) signals.limit = orders.limit;
  signals.resident = PagesToBytes(memory_->ResidentPages());
  signals.swapped = PagesToBytes(stats.swapped_pages);
  signals.incompressible = PagesToBytes(swap_state_->incompressible().pages());
  signals.pool = swap_state_->pool().stats().used_bytes;
  if (tiers_.disk != nullptr && tiers_.pool_budget != nullptr) {
    signals.most_pool = tiers_.pool_budget->Share(memory_->pages());
  }
  signals.bookkeeping = shared_state_->page_word_bytes() + shared_state_->record_bytes();
  signals.steerable = state() == State::kRunning || state() == State::kDetachFailed;
  return signals;
}

VmStatus Vm::Status() const {
  VmStatus status;
  status.name = name_;
  status.pid = pid_;
  status.state = StateName(state());
  const SwapStats& stats = swap_state_->stats();
  status.held_pages = held_pages();
  if (status.held_pages > 0) {
    status.state = "held";
    status.held_reason = absl::StrFormat(
        "%d pages cannot be produced; threads that touch them wait. Of the last one: %s",
        status.held_pages, swap_state_->losses().last_reason());
    if (const DiskShare* disk = swap_state_->disk(); disk != nullptr) {
      absl::StrAppend(&status.held_reason, ". The disk tier is ", disk->tier().name());
    }
  }
  status.detach_error = detach_error();
  status.ram_bytes = ram_bytes();
  const Entitlement::Orders orders = entitlement_.orders();
  status.limit_bytes = orders.limit;
  status.guarantee_bytes = orders.guarantee;
  status.weight = orders.weight;
  status.planned_bytes = entitlement_.plan().host_bytes;
  status.target_bytes = entitlement_.target_bytes();
  status.resident_bytes = PagesToBytes(memory_->ResidentPages());
  AddCounters(stats, &status);

  const uint64_t once_target = once_target_.load();
  if (once_target != UINT64_MAX) status.swap_out_target_bytes = PagesToBytes(once_target);
  const Mover::BringBackState bring_back = mover_.bring_back_state();
  if (bring_back == Mover::BringBackState::kAsked ||
      bring_back == Mover::BringBackState::kRunning) {
    const uint64_t room =
        PagesToBytes(residency_.target() - std::min(residency_.target(), residency_.resident()));
    status.swap_in_remaining_bytes = std::min(status.swapped_bytes, room);
  }

  const PoolStats pool = swap_state_->pool().stats();
  status.pool_original_bytes = PagesToBytes(pool.objects);
  status.pool_compressed_bytes = pool.object_bytes;
  status.pool_used_bytes = pool.used_bytes;
  status.pool_full = reclaim_.PoolIsFull();
  status.disk_bytes = PagesToBytes(stats.disk_pages);
  if (const DiskShare* disk = swap_state_->disk(); disk != nullptr) {
    status.disk_used_bytes = PagesToBytes(disk->used_blocks());
    status.disk_full = disk->is_full();
  }
  status.incompressible_pages = swap_state_->incompressible().pages();
  status.page_word_bytes = shared_state_->page_word_bytes();
  status.record_bytes = shared_state_->record_bytes();

  const IoBarrierStatus barrier = barrier_->Status();
  status.barrier_mode = barrier.mode;
  status.barriers = barrier.count;
  status.barrier_p50_ms = barrier.p50_ms;
  status.barrier_p99_ms = barrier.p99_ms;
  status.barrier_interval_ms = barrier.interval_ms;

  const Reclaim::Status reclaim = reclaim_.status();
  status.cooling_pages = reclaim.cooling;
  status.guarded_pages = reclaim.guarded;
  status.ready_pages = reclaim.ready;
  status.reserve_target_pages = reclaim.reserve_target;
  return status;
}

}  // namespace ebb
