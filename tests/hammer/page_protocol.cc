// SPDX-License-Identifier: MIT
#include "tests/hammer/page_protocol.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"
#include "hostd/base/clock.h"
#include "hostd/base/status_macros.h"
#include "hostd/os/thread.h"
#include "tests/hammer/cpus.h"
#include "tests/synthetic/random.h"

namespace ebb::hammer {
namespace {

using synthetic::Random;

// Reclaim's clock runs so much faster than ours: half a second to cool becomes a quarter of a
// millisecond. Barriers have a clock of their own, ours.
constexpr int64_t kHaste = 20000;
constexpr int64_t kMostPauseNs = 300 * kNsPerUs;
// Pages go out only so often for what the guest gets done, else it would get nothing done. Times
// the slowness: emulated, compression and faults cost even more than all else.
constexpr uint64_t kOperationsPerSwapOut = 6;
// How long residency is kept at or below one target.
constexpr int64_t kTargetNs = 20 * kNsPerMs;
constexpr int64_t kPrefetchPauseNs = kNsPerMs;
constexpr uint64_t kPrefetchPages = 16;
// A prefetch wakes threads that a mistake left asleep. So it works for a while, and then it leaves
// pages alone for longer than a thread may be stuck.
constexpr int64_t kPrefetchNs = 3 * kNsPerS;
constexpr int64_t kPrefetchPeriodNs = kPrefetchNs + 2 * Guest::kStuckNs;
// As long as reads of the disk may take.
constexpr int64_t kReadNs = 20 * kNsPerS;

// Everything out, a part of it, or nothing for a while: then the guest gets something done.
uint64_t TargetFor(uint64_t pages, Random* random) {
  const uint64_t choice = random->Below(8);
  if (choice < 3) return UINT64_MAX;
  return choice < 5 ? 0 : random->Below(pages);
}

}  // namespace

absl::StatusOr<std::unique_ptr<PageProtocol>> PageProtocol::Start(Guest* guest,
                                                                  const GuestOptions& options) {
  EBB_ASSIGN_OR_RETURN(std::unique_ptr<Tiers> tiers, Tiers::Open(options));
  EBB_ASSIGN_OR_RETURN(std::unique_ptr<GuestMemory> memory,
                       QemuMemory::Open(guest->TakeHandles(), guest->layout()));
  EBB_ASSIGN_OR_RETURN(std::unique_ptr<SharedSwapState> shared_state,
                       SharedSwapState::Create(memory->pages(), tiers->host_tiers()));
  Reads reads;
  for (std::unique_ptr<DiskQueue>* queue : {&reads.fault_thread, &reads.mover, &reads.prefetch}) {
    EBB_ASSIGN_OR_RETURN(*queue, tiers->OpenReads());
  }
  return std::unique_ptr<PageProtocol>(new PageProtocol(guest, std::move(tiers), std::move(memory),
                                                        std::move(shared_state), std::move(reads),
                                                        options));
}

PageProtocol::PageProtocol(Guest* guest, std::unique_ptr<Tiers> tiers,
                           std::unique_ptr<GuestMemory> memory,
                           std::unique_ptr<SharedSwapState> shared_state, Reads reads,
                           const GuestOptions& options)
    : guest_(guest),
      slowness_(options.slowness),
      tiers_(std::move(tiers)),
      memory_(std::move(memory)),
      shared_state_(std::move(shared_state)),
      barrier_(guest, [this] { alarm_.Ring(); }),
      mover_("hammer", memory_.get(), &shared_state_->state(), &residency_, std::move(reads.mover)),
      fault_thread_("hammer", {memory_.get(), &shared_state_->state(), &residency_, &alarm_},
                    std::move(reads.fault_thread)),
      first_reclaim_({memory_.get(), &shared_state_->state(), &residency_, &barrier_, &mover_}),
      second_reclaim_({memory_.get(), &shared_state_->state(), &residency_, &barrier_, &mover_}) {
  fault_thread_.Start();
  mover_.Start();
  const uint64_t seed = options.seed;
  threads_.emplace_back([this, seed] { RunReclaim(&first_reclaim_, 0, seed); });
  if (!tiers_->has_disk()) {
    threads_.emplace_back([this, seed] { RunReclaim(&second_reclaim_, 1, seed + 1); });
  }
  threads_.emplace_back([this, seed, queue = std::move(reads.prefetch)]() mutable {
    RunPrefetch(std::move(queue), seed + 2);
  });
}

PageProtocol::~PageProtocol() {
  stopping_ = true;
  stop_event_.Set();
  // Before the mover: reclaim may be waiting for it.
  mover_.Stop();
  for (std::thread& thread : threads_) thread.join();
  fault_thread_.Stop();
}

// ---- Reclaim
// --------------------------------------------------------------------------------------

void PageProtocol::RunReclaim(Reclaim* reclaim, size_t number, uint64_t seed) {
  EnterThreadRole("reclaim/hammer", ThreadRole::kFault);
  StayOnCpu(number);
  Random random(seed);
  const int64_t begin_ns = MonotonicNs();
  bool gave_up = false;
  while (!stopping_) {
    if (ending_ && !gave_up) {
      const std::lock_guard lock(turn_);
      reclaim->GiveUp();
      residency_.SetLimit(UINT64_MAX);
      gave_up = true;
    }
    if (!gave_up) ChooseTarget(&random);
    // One reclaimer must do the work of two.
    if (tiers_->has_disk()) StayOnCpu(random.Below(kCpus));
    if (gave_up || !IsAhead()) {
      const std::lock_guard lock(turn_);
      const int64_t now_ns = (MonotonicNs() - begin_ns) * kHaste / slowness_ + 1;
      reclaim->RunPass(now_ns, gave_up ? UINT64_MAX : target_.load());
      nothing_stored_ = NothingStored();
    }
    alarm_.Sleep(static_cast<int64_t>(random.Below(kMostPauseNs)) * slowness_);
  }
  if (!gave_up) reclaim->GiveUp();
}

void PageProtocol::ChooseTarget(Random* random) {
  const int64_t now_ns = MonotonicNs();
  if (now_ns - target_chosen_ns_ <= kTargetNs * slowness_) return;
  target_ = TargetFor(memory_->pages(), random);
  // Now and then with a limit as well, for what faults do at one: they are slowed down.
  const bool limited = random->Chance(3) && !IsAhead();
  residency_.SetLimit(limited ? memory_->pages() / 2 : UINT64_MAX);
  target_chosen_ns_ = now_ns;
}

bool PageProtocol::IsAhead() const {
  const auto slowness = static_cast<uint64_t>(slowness_);
  return stats().swapped_out * kOperationsPerSwapOut * slowness >
         guest_->operations() + memory_->pages();
}

bool PageProtocol::NothingStored() const {
  SwapState& state = shared_state_->state();
  if (state.pool().stats().objects != 0) return false;
  if (state.disk() == nullptr) return true;
  return state.disk()->in_flight() == 0 && state.disk()->blocks().used_blocks() == 0;
}

// ---- Prefetch
// -------------------------------------------------------------------------------------

// Brings runs of pages back that nobody has asked for; now and then the mover brings all of them.
void PageProtocol::RunPrefetch(std::unique_ptr<DiskQueue> reads, uint64_t seed) {
  EnterThreadRole("prefetch/hammer", ThreadRole::kFault);
  Random random(seed);
  const auto swap_in =
      std::make_unique<SwapIn>(memory_.get(), &shared_state_->state(), std::move(reads));
  const int64_t begin_ns = MonotonicNs();
  while (!ending_ && !stopping_) {
    if ((MonotonicNs() - begin_ns) / slowness_ % kPrefetchPeriodNs > kPrefetchNs) {
      EndReads(swap_in.get());
      WaitReadable(stop_event_.fd(), stop_event_, kPrefetchNs);
      continue;
    }
    Prefetch(swap_in.get(), &random);
    if (random.Chance(1)) mover_.BringBack(random.Below(memory_->pages()));
    WaitReadable(stop_event_.fd(), stop_event_, kPrefetchPauseNs * slowness_);
  }
  EndReads(swap_in.get());
}

void PageProtocol::Prefetch(SwapIn* swap_in, Random* random) {
  const uint64_t first = random->Below(memory_->pages());
  const uint64_t end = std::min(memory_->pages(), first + 1 + random->Below(kPrefetchPages));
  for (PageIndex page = {first}; page.value < end; page = page + 1) {
    const PageWord word = shared_state_->state().words().Load(page);
    if (word.state() == PageState::kSwapped && swap_in->Run(page, word) == PageOutcome::kServed) {
      residency_.Add(1);
    }
  }
  while (const std::optional<SwapIn::ReadPage> read = swap_in->NextRead(random->Chance(50))) {
    const bool served = read->outcome == PageOutcome::kServed;
    residency_.Add(static_cast<int64_t>(read->read_ahead_pages + (served ? 1 : 0)));
  }
}

// Whose pages would stay where they are.
void PageProtocol::EndReads(SwapIn* swap_in) {
  const int64_t deadline_ns = MonotonicNs() + kReadNs * slowness_;
  WakeEvent never;
  while (swap_in->reads_in_flight() > 0 && MonotonicNs() < deadline_ns) {
    if (swap_in->NextRead(false)) continue;
    WaitReadable(swap_in->reads_fd(), never, kNsPerMs);
  }
}

// ---- The end
// --------------------------------------------------------------------------------------

absl::Status PageProtocol::BringAllBack(int64_t timeout_ns) {
  const int64_t deadline_ns = MonotonicNs() + timeout_ns;
  ending_ = true;
  stop_event_.Set();
  WakeEvent never;
  bool is_back = false;
  while (MonotonicNs() < deadline_ns && !(is_back && nothing_stored_)) {
    mover_.BringBack(UINT64_MAX);
    while (mover_.bring_back_state() == Mover::BringBackState::kRunning &&
           MonotonicNs() < deadline_ns) {
      WaitReadable(never.fd(), never, kNsPerMs);
    }
    // What was said before everything was back says nothing.
    if (!is_back) nothing_stored_ = false;
    is_back = mover_.Idle() && !IsBusy();
  }
  // Only now: what a thread has asked the disk for fails when it ends.
  stopping_ = true;
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
  shared_state_->state().ReapRetired();
  EBB_RETURN_IF_ERROR(CheckNothingLeft());
  if (!first_reclaim_.Unregister() || !second_reclaim_.Unregister()) {
    return absl::InternalError("the kernel does not unregister guest RAM");
  }
  return absl::OkStatus();
}

// A page is not in guest RAM, or on its way. Fixing is the fault thread's.
bool PageProtocol::IsBusy() const {
  const PageWords& words = shared_state_->state().words();
  for (PageIndex page; page.value < words.pages(); page = page + 1) {
    const PageState state = words.Load(page).state();
    if (state != PageState::kResident && state != PageState::kFixing) return true;
  }
  return false;
}

absl::Status PageProtocol::CheckNothingLeft() const {
  SwapState& state = shared_state_->state();
  for (PageIndex page; page.value < memory_->pages(); page = page + 1) {
    if (state.words().Load(page).state() != PageState::kResident) {
      return absl::InternalError("not back: " + Describe(page));
    }
  }
  const SwapStats& stats = state.stats();
  if (stats.swapped_pages != 0 || stats.same_filled_pages != 0 || stats.lost_pages != 0 ||
      stats.disk_pages != 0) {
    return absl::InternalError(absl::StrFormat(
        "all pages are back, but %d count as swapped, %d as same-filled, %d as lost, %d as on disk",
        stats.swapped_pages.load(), stats.same_filled_pages.load(), stats.lost_pages.load(),
        stats.disk_pages.load()));
  }
  if (!NothingStored()) {
    return absl::InternalError("all pages are back, but the pool or the disk still holds some");
  }
  return absl::OkStatus();
}

std::string PageProtocol::Describe(PageIndex page) const {
  const PageWord word = shared_state_->state().words().Load(page);
  std::array<PteState, 1> pte = {};
  memory_->ReadPtes({page, 1}, pte);
  return absl::StrFormat("page %d: %s%s%s, generation %d, SwapId %d; PTE %s%s; %s", page.value,
                         PageStateName(word.state()), word.waiter() ? ", waiter" : "",
                         word.discarded() ? ", discarded" : "", word.generation(),
                         word.swap_id().value, pte[0].present ? "present" : "not present",
                         pte[0].write_protected ? ", protected" : "",
                         memory_->NextPresent({page, 1}).count == 1 ? "in place" : "a hole");
}

}  // namespace ebb::hammer
