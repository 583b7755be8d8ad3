// SPDX-License-Identifier: MIT
#include "hostd/vm/vm.h"

#include <algorithm>
#include <optional>
#include <system_error>
#include <utility>

#include "absl/strings/str_format.h"
#include "hostd/base/clock.h"
#include "hostd/base/log.h"
#include "hostd/base/status_macros.h"
#include "hostd/base/wait_checks.h"
#include "hostd/os/process.h"
#include "hostd/os/thread.h"
#include "hostd/os/wake_event.h"
#include "hostd/swap/discard.h"

namespace ebb {
namespace {

// Of the host's memory: what is kept free of the pages of a VM that is over its limit.
constexpr uint64_t kHostReserveShare = 16;
// A one-time swap-out that gets no further for this long has met pages the guest needs.
constexpr int64_t kOnceGiveUpNs = 30 * kNsPerS;
constexpr int64_t kDetachPollNs = 20 * kNsPerMs;
constexpr int64_t kProgressNs = 2 * kNsPerS;
// How often the same is said while it lasts.
constexpr int64_t kReportNs = 600 * kNsPerS;

}  // namespace

absl::StatusOr<std::unique_ptr<Vm>> Vm::Start(Parts parts) {
  EBB_ASSIGN_OR_RETURN(std::unique_ptr<SharedSwapState> shared_state,
                       SharedSwapState::Create(parts.memory->pages(), parts.tiers));
  EBB_ASSIGN_OR_RETURN(DiskQueues reads, OpenDiskQueues(parts.tiers.disk));
  std::unique_ptr<Vm> vm(new Vm(std::move(parts), std::move(shared_state), std::move(reads)));
  try {
    vm->fault_thread_.Start();
    vm->mover_.Start();
    vm->reclaim_thread_ = std::thread([raw = vm.get()] { raw->RunReclaim(); });
  } catch (const std::system_error& error) {
    return absl::ResourceExhaustedError(absl::StrFormat(
        "ebbd cannot start another thread (%s); raise its task limit", error.what()));
  }
  return vm;
}

absl::StatusOr<Vm::DiskQueues> Vm::OpenDiskQueues(DiskTier* disk) {
  DiskQueues queues;
  if (disk == nullptr) return queues;
  for (std::unique_ptr<DiskQueue>* queue : {&queues.fault_thread, &queues.mover}) {
    EBB_ASSIGN_OR_RETURN(*queue, disk->OpenQueue(DiskReads::kMaxReads, kDiskBlockBytes));
  }
  return queues;
}

Vm::Vm(Parts parts, std::unique_ptr<SharedSwapState> shared_state, DiskQueues reads)
    : name_(std::move(parts.name)),
      pid_(parts.pid),
      pidfd_(std::move(parts.pidfd)),
      ram_(std::move(parts.ram)),
      tiers_(parts.tiers),
      memory_(std::move(parts.memory)),
      barrier_(std::move(parts.barrier)),
      shared_state_(std::move(shared_state)),
      swap_state_(&shared_state_->state()),
      entitlement_(name_, ram_bytes(), &residency_, &reclaim_alarm_),
      mover_(name_, memory_.get(), swap_state_, &residency_, std::move(reads.mover)),
      fault_thread_(name_, {memory_.get(), swap_state_, &residency_, &reclaim_alarm_},
                    std::move(reads.fault_thread)),
      reclaim_({memory_.get(), swap_state_, &residency_, barrier_.get(), &mover_}) {}

Vm::~Vm() {
  stopping_.store(true);
  reclaim_alarm_.RingAlways();
  // Before the mover: reclaim may be waiting for it.
  mover_.Stop();
  MayWait("for the reclaim thread to end");
  if (reclaim_thread_.joinable()) reclaim_thread_.join();
  fault_thread_.Stop();
}

bool Vm::exited() const { return IsReadable(pidfd_.get()); }

absl::Status Vm::SwapOut(uint64_t to_bytes) {
  if (to_bytes < Entitlement::kMinLimitBytes) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "%s can be swapped out to %d MiB at the least", name_, Entitlement::kMinLimitBytes / kMiB));
  }
  const uint64_t guarantee = entitlement_.orders().guarantee;
  if (to_bytes < guarantee) {
    return absl::FailedPreconditionError(
        absl::StrFormat("%s is guaranteed %d MiB; to take more, lower the guarantee first", name_,
                        guarantee / kMiB));
  }
  if (state() != State::kRunning) {
    return absl::FailedPreconditionError(name_ + " is being detached; wait until it is");
  }
  mover_.CancelBringBack();
  once_target_.store(BytesToPages(to_bytes));
  reclaim_alarm_.RingAlways();
  return absl::OkStatus();
}

absl::Status Vm::SwapIn() {
  if (state() != State::kRunning) {
    return absl::FailedPreconditionError(name_ + " is being detached; its pages come back anyway");
  }
  once_target_.store(UINT64_MAX);
  // A pass that began with the old target may still be storing pages.
  mover_.AskForBringBack(residency_.target());
  reclaim_alarm_.RingAlways();
  return absl::OkStatus();
}

absl::Status Vm::CheckHealthy() const {
  if (swap_state_->stats().failed_punches > 0) {
    return absl::FailedPreconditionError(
        "the kernel refuses to free its memory: was the RAM memfd sealed against writing?");
  }
  return absl::OkStatus();
}

void Vm::ForgetUnplugged(size_t memfd) {
  PageRange range = {{0}, 0};
  for (const RamMapping& mapping : ram_.layout.mappings()) {
    range = {range.end(), mapping.pages};
    if (mapping.memfd != memfd) continue;
    DiscardPages(memory_.get(), swap_state_, range);
    memory_->Punch(range);
  }
}

uint64_t Vm::bytes_to_bring_back() const {
  return PagesToBytes(swap_state_->stats().swapped_pages);
}

bool Vm::Detach(std::string why) {
  State expected = State::kRunning;
  // Whoever is late finds it under way, or done.
  if (!state_.compare_exchange_strong(expected, State::kDetaching)) return false;
  {
    MutexLock lock(mutex_);
    detach_error_.clear();
    detach_reason_ = std::move(why);
  }
  detach_wanted_.store(true);
  reclaim_alarm_.RingAlways();
  return true;
}

std::string Vm::detach_error() const {
  MutexLock lock(mutex_);
  return detach_error_;
}

std::string Vm::detach_reason() const {
  MutexLock lock(mutex_);
  return detach_reason_;
}

void Vm::RunReclaim() {
  const std::string thread_name = "reclaim/" + name_;
  ThreadRole role = ThreadRole::kReclaim;
  EnterThreadRole(thread_name.c_str(), role);
  while (!Stopping()) {
    // A VM at its limit is about to be paced until this thread has made room.
    const ThreadRole wanted = residency_.resident() >= residency_.limit()
                                  ? ThreadRole::kUrgentReclaim
                                  : ThreadRole::kReclaim;
    if (wanted != role) EnterThreadRole(thread_name.c_str(), wanted);
    role = wanted;
    if (detach_wanted_.exchange(false)) {
      const absl::Status status = RunDetach();
      if (status.ok()) {
        state_.store(State::kDetached);
        return;
      }
      MutexLock lock(mutex_);
      detach_error_ = std::string(status.message());
      state_.store(State::kDetachFailed);
    }
    mover_.BeginBringBack();
    residency_.SetMayPace(MayPace());
    const int64_t now_ns = MonotonicNs();
    const int64_t wait_ns = reclaim_.RunPass(now_ns, OnceTarget(now_ns));
    ReportLosses();
    ReportPool(now_ns);
    ReportNoMemory(now_ns);
    if (wait_ns > 0) reclaim_alarm_.Sleep(wait_ns);
  }
  ReportLosses();
}

// Without barriers, or room in the pool, nothing can be dropped, however long a fault is put off;
// and the reader of all of its memory holds QEMU's lock for as long (docs/decisions/0008).
bool Vm::MayPace() const {
  if (!barrier_->Unanswered() && !reclaim_.PoolIsFull()) return true;
  return HostAvailableBytes() < HostTotalBytes() / kHostReserveShare;
}

// It is full, has room for a moment and is full again, for as long as that lasts: said now and
// then.
void Vm::ReportPool(int64_t now_ns) {
  if (!reclaim_.PoolIsFull() || now_ns < pool_report_ns_) return;
  // With a disk that does, it is full for a moment every now and then.
  if (tiers_.disk != nullptr && !swap_state_->disk()->is_full()) {
    const DiskTier::Stats disk = tiers_.disk->stats(now_ns);
    if (!disk.failing && !disk.stalled) return;
  }
  pool_report_ns_ = now_ns + kReportNs;
  LogWarning(
      "vm %s: the pool is full (see --pool-max), or the host has no memory for it: what would be "
      "swapped out of the VM stays resident, even above its limit. Raise one of the limits, and "
      "see: ebbctl tier",
      name_);
}

void Vm::ReportNoMemory(int64_t now_ns) {
  const uint64_t faults = swap_state_->stats().no_memory;
  if (faults == no_memory_said_ || now_ns < no_memory_report_ns_) return;
  no_memory_report_ns_ = now_ns + kReportNs;
  LogWarning(
      "vm %s: the host, or the VM's memory cgroup, had no memory for pages that the VM touched: %d "
      "of its faults waited until others were swapped out. Raise memory.max, or lower its limit",
      name_, faults - no_memory_said_);
  no_memory_said_ = faults;
}

// Whoever finds a page lost may be on the fault path, and must not wait for the log.
void Vm::ReportLosses() {
  const std::optional<LossNotices::Notice> loss = swap_state_->losses().Take();
  if (!loss) return;
  const std::string others =
      loss->others > 0 ? absl::StrFormat(" (and %d more pages about then)", loss->others) : "";
  LogError("vm %s: guest page %d is lost%s: %s. The VM is held: threads that touch it stay blocked",
           name_, loss->page.value, others, loss->reason);
}

// The one-time target, until it is reached or nothing more comes out.
uint64_t Vm::OnceTarget(int64_t now_ns) {
  const uint64_t target = once_target_.load();
  if (target == UINT64_MAX) {
    once_best_ = UINT64_MAX;
    return target;
  }
  // It is asked for now. What is known of a VM that was left alone may be of long ago, and if it
  // was small then, the target would look reached.
  if (once_best_ == UINT64_MAX) residency_.Refresh(memory_->ResidentPages());
  const uint64_t resident = residency_.resident();
  if (resident < once_best_) {
    once_best_ = resident;
    once_best_ns_ = now_ns;
  }
  // A guarantee may have been given since it was asked for.
  const uint64_t goal = std::max(target, entitlement_.floor_pages());
  const bool reached = resident <= goal && resident > 0;
  if (reached || now_ns - once_best_ns_ > kOnceGiveUpNs) {
    if (!reached) {
      LogInfo("vm %s: swap-out stopped at %d MiB: %s", name_, PagesToBytes(resident) / kMiB,
              reclaim_.PoolIsFull() ? "the pool is full"
                                    : "the guest uses the rest, or it does not compress");
    }
    uint64_t expected = target;
    once_target_.compare_exchange_strong(expected, UINT64_MAX);
    return UINT64_MAX;
  }
  return goal;
}

// Brings everything back, then unregisters. Reclaim takes nothing meanwhile: this is its thread.
absl::Status Vm::RunDetach() {
  once_target_.store(UINT64_MAX);
  reclaim_.GiveUp();
  // Pacing would only slow down what must come back anyway.
  entitlement_.Suspend();
  absl::Status status = BringAllBack();
  if (!status.ok()) {
    entitlement_.Resume();
    return status;
  }
  while (!reclaim_.Unregister()) {
    if (Stopping()) return absl::CancelledError("the VM exited");
    // The memory map is changing; the fault thread reads what it takes to finish that.
    reclaim_alarm_.Sleep(kDetachPollNs);
  }
  LogInfo("vm %s: all of its memory is back; detached", name_);
  return absl::OkStatus();
}

absl::Status Vm::BringAllBack() {
  int64_t last_progress_ns = MonotonicNs();
  mover_.BringBack(UINT64_MAX);
  while (!Stopping()) {
    swap_state_->ReapRetired();
    switch (mover_.bring_back_state()) {
      case Mover::BringBackState::kRunning:
        break;
      case Mover::BringBackState::kDone:
        if (mover_.Idle() && NothingSwapped()) return absl::OkStatus();
        [[fallthrough]];  // a fault had a page in hand, and had to put it back
      case Mover::BringBackState::kNone:
      case Mover::BringBackState::kAsked:
      case Mover::BringBackState::kAtLimit:
        // A request of the control API came in between.
        mover_.BringBack(UINT64_MAX);
        break;
      case Mover::BringBackState::kNoMemory:
        return absl::ResourceExhaustedError(
            "its pages do not fit into the host's memory (or its memory cgroup) any more; free "
            "memory and try again");
      case Mover::BringBackState::kFailed:
        return absl::DataLossError("some of its pages cannot be brought back; it is held");
    }
    ReportLosses();
    ReportProgress(&last_progress_ns);
    reclaim_alarm_.Sleep(kDetachPollNs);
  }
  return absl::CancelledError("the VM exited");
}

void Vm::ReportProgress(int64_t* last_ns) const {
  const int64_t now_ns = MonotonicNs();
  if (now_ns - *last_ns < kProgressNs) return;
  *last_ns = now_ns;
  LogInfo("vm %s: %d MiB still to bring back", name_, bytes_to_bring_back() / kMiB);
}

// Every page is in guest RAM and nobody is on the way to take it out. Fixing is the fault thread's.
bool Vm::NothingSwapped() const {
  const PageWords& words = swap_state_->words();
  for (PageIndex page; page.value < words.pages(); page = page + 1) {
    const PageState state = words.Load(page).state();
    if (state != PageState::kResident && state != PageState::kFixing) return false;
  }
  return true;
}

}  // namespace ebb
