// SPDX-License-Identifier: MIT
#include "hostd/swap/reclaim.h"

#include <algorithm>
#include <utility>

#include "hostd/base/test_points.h"
#include "hostd/base/units.h"

namespace ebb {
namespace {

// Pages swapped out before reclaim looks at the VM again: about 5 ms of compression.
constexpr uint64_t kSwapOutStepPages = 512;
// Pages the hand passes at most in one pass, so that a pass stays short on a large VM.
constexpr uint64_t kScanStepPages = 64 * 1024;
// The hand looks for pages in windows of this many.
constexpr uint64_t kScanWindowPages = 512;

// How long nothing is stored when the pool had no room, unless so much has left it.
constexpr int64_t kPoolFullPauseNs = kNsPerS / 2;
constexpr uint64_t kRoomBytes = 64 * 1024;

// What did not compress is tried again in eight rounds that are at least so long.
constexpr int64_t kRoundNs = 10 * kNsPerS;

// What is written back at least when the pool has no room.
constexpr uint64_t kWriteBackWhenFullBytes = kMiB;

// While the disk writes.
constexpr int64_t kWritingPassNs = kNsPerMs;
constexpr int64_t kBusyPassNs = 20 * kNsPerMs;
constexpr int64_t kIdlePassNs = 200 * kNsPerMs;

}  // namespace

void Reclaim::Queue::Push(Cohort cohort) {
  if (cohort.pages.empty()) return;
  pages.fetch_add(cohort.pages.size(), std::memory_order_relaxed);
  cohorts.push_back(std::move(cohort));
}

Reclaim::Cohort Reclaim::Queue::Pop() {
  Cohort cohort = std::move(cohorts.front());
  cohorts.pop_front();
  pages.fetch_sub(cohort.pages.size(), std::memory_order_relaxed);
  return cohort;
}

Reclaim::Reclaim(const Parts& parts)
    : parts_(parts),
      registration_(parts.memory),
      writeback_(parts.state),
      store_pages_(parts.memory, parts.state, &writeback_) {}

int64_t Reclaim::RunPass(int64_t now_ns, uint64_t once_target) {
  parts_.state->ReapRetired();
  const bool compacting = parts_.state->Compact();
  const bool writing = WriteBack(now_ns);
  parts_.residency->Refresh(parts_.memory->ResidentPages());
  PassBarrier(now_ns);

  const ReclaimPlan plan = Plan(now_ns, once_target);
  SwapOut(std::min(plan.swap_out, kSwapOutStepPages), now_ns);
  pages_to_drop_ = std::min(pages_to_drop_, ready_.pages.load());
  Guard(plan.guard, now_ns - plan.cool_age_ns);
  Cool(plan.cool, now_ns);
  if (plan.want_barrier) parts_.barrier->Request(plan.urgent);

  parts_.residency->SetReady(ready_.pages);
  if (plan.swap_out > 0 && !PoolIsFull() && !store_pages_.disk_was_busy()) return 0;
  if (writing) return kWritingPassNs;
  // A limited VM is looked at often even when it is far from its limit: until its RAM is registered
  // nothing else would tell that it is getting near.
  const bool busy = compacting || parts_.residency->limited() || plan.reserve_target > 0;
  return busy ? kBusyPassNs : kIdlePassNs;
}

ReclaimPlan Reclaim::Plan(int64_t now_ns, uint64_t once_target) {
  Residency& residency = *parts_.residency;
  ReclaimSignals signals;
  signals.resident = residency.resident();
  signals.target = std::min(residency.target(), once_target);
  signals.limit = std::min(residency.limit(), once_target);
  signals.cooling = cooling_.pages;
  signals.guarded = guarded_.pages;
  signals.ready = ready_.pages;
  inflow_.Sample(now_ns, signals.resident, parts_.state->stats().swapped_out);
  signals.inflow_per_s = inflow_.pages_per_s();
  signals.barrier_interval_ns = parts_.barrier->IntervalNs();
  signals.no_memory = residency.TakeNoMemory();

  // Nothing is to be stored, so that nothing wants for room.
  if (signals.resident <= signals.target) pool_is_full_.store(false, std::memory_order_relaxed);
  ReclaimPlan plan = PlanReclaim(signals);
  // All that is ready, in as many passes as it takes. Where the pool has no room it is given up:
  // whoever still waits for memory says so again.
  if (signals.no_memory) pages_to_drop_ = signals.ready;
  if (now_ns < pool_full_until_ns_) pages_to_drop_ = 0;
  plan.swap_out = std::max(plan.swap_out, std::min(pages_to_drop_, signals.ready));
  reserve_target_ = plan.reserve_target;
  // Near its limit the VM's first touches must be seen, or it could cross the limit unnoticed.
  if (residency.limited() && plan.reserve_target > 0) registration_.EnsureAll();
  return plan;
}

// Resident -> Cooling: the hand claims pages and zaps their PTEs.
void Reclaim::Cool(uint64_t wanted, int64_t now_ns) {
  EBB_TEST_POINT("reclaim.cool");
  const uint64_t pages = parts_.memory->pages();
  const uint64_t before = cooling_.pages;
  const uint64_t scan = std::min(pages, kScanStepPages);
  for (uint64_t scanned = 0; scanned < scan && cooling_.pages - before < wanted;) {
    const uint64_t window = std::min(kScanWindowPages, pages - hand_.value);
    // Holes are skipped: a page that was never used must not become a record.
    const PageRange present = parts_.memory->NextPresent({hand_, window});
    const uint64_t holes = present.count > 0 ? present.first.value - hand_.value : window;
    parts_.state->incompressible().Forget({hand_, holes});
    if (present.count > 0) CoolRun(present, now_ns);
    const uint64_t passed = holes + present.count;
    scanned += passed;
    hand_ = {hand_.value + passed};
    if (hand_.value < pages) continue;
    hand_ = {};
    // The hand goes round a small VM many times a second.
    if (now_ns - round_began_ns_ < kRoundNs) continue;
    round_began_ns_ = now_ns;
    parts_.state->incompressible().BeginRound();
  }
}

void Reclaim::CoolRun(PageRange run, int64_t now_ns) {
  // Before the zap: on an unregistered VMA a touch maps its neighbours too, and they would all look
  // touched.
  if (!registration_.Ensure(run)) return;
  PageWords& words = parts_.state->words();
  for (PageIndex page = run.first; page < run.end();) {
    Cohort cohort;
    cohort.since_ns = now_ns;
    const PageIndex end = std::min(run.end(), page + kCohortPages);
    for (; page < end; page = page + 1) {
      const PageWord word = words.Load(page);
      if (word.state() != PageState::kResident) continue;
      if (parts_.state->incompressible().PassBy(page)) continue;
      const auto cooling = words.TryMove(page, word, PageState::kCooling);
      if (cooling) cohort.pages.push_back({page, *cooling});
    }
    ForEachRun(cohort.pages, [this](PageRange claimed) { parts_.memory->ZapPtes(claimed); });
    cooling_.Push(std::move(cohort));
  }
}

// Cooling -> Guarded, for cohorts that have cooled since before `cooled_before_ns`.
void Reclaim::Guard(uint64_t wanted, int64_t cooled_before_ns) {
  EBB_TEST_POINT("reclaim.guard");
  const uint64_t before = guarded_.pages;
  while (!cooling_.cohorts.empty() && cooling_.cohorts.front().since_ns <= cooled_before_ns &&
         guarded_.pages - before < wanted) {
    GuardCohort(cooling_.Pop());
  }
}

void Reclaim::GuardCohort(Cohort cohort) {
  const PageIndex first = cohort.pages.front().page;
  std::vector<PteState> ptes(cohort.pages.back().page.value - first.value + 1);
  if (parts_.memory->ReadPtes({first, ptes.size()}, ptes) != OsResult::kDone) {
    parts_.sink->Submit({}, std::move(cohort.pages));
    return;
  }
  Cohort guarded;
  std::vector<ClaimedPage> give_back;
  for (const ClaimedPage& page : cohort.pages) {
    // Mapped again: somebody touched it. That was its second chance.
    if (ptes[page.page.value - first.value].present) {
      give_back.push_back(page);
      continue;
    }
    const auto word = parts_.state->words().TryMove(page.page, page.word, PageState::kGuarded);
    if (word) guarded.pages.push_back({page.page, *word});
  }
  EBB_TEST_POINT("guard.claimed");
  bool all_protected = true;
  ForEachRun(guarded.pages, [&](PageRange run) {
    all_protected &= parts_.memory->WriteProtect(run) == OsResult::kDone;
  });
  if (!all_protected) {
    give_back.insert(give_back.end(), guarded.pages.begin(), guarded.pages.end());
    guarded.pages.clear();
  }
  // Only now: a barrier that started before the protection was in place says nothing about it.
  guarded.since_ns = parts_.barrier->NowNs();
  guarded_.Push(std::move(guarded));
  if (!give_back.empty()) parts_.sink->Submit({}, std::move(give_back));
}

// Guarded -> the ready reserve, for cohorts whose barrier has completed.
void Reclaim::PassBarrier(int64_t now_ns) {
  const int64_t safe_before_ns = parts_.barrier->SafeBeforeNs(now_ns);
  while (!guarded_.cohorts.empty() && guarded_.cohorts.front().since_ns < safe_before_ns) {
    ready_.Push(guarded_.Pop());
  }
}

// The ready reserve -> SwappingOut, stored, and on to whoever drops.
void Reclaim::SwapOut(uint64_t wanted, int64_t now_ns) {
  // Compressing what has nowhere to go would only cost.
  const uint64_t pool_bytes = parts_.state->pool().stats().object_bytes;
  if (now_ns < pool_full_until_ns_ && pool_bytes + kRoomBytes > pool_full_bytes_) return;
  // Of what does not compress a cohort goes to the disk as a whole, or none of it.
  if (store_pages_.disk_was_busy() && !writeback_.CanTakeRaw(kCohortPages)) return;
  bool full = false;
  bool busy = false;
  for (uint64_t taken = 0; taken < wanted && !ready_.cohorts.empty() && !full && !busy;) {
    const Cohort cohort = ready_.Pop();
    taken += cohort.pages.size();
    std::vector<StoredPage> stored;
    std::vector<ClaimedPage> give_back;
    store_pages_.Run(cohort.pages, &stored, &give_back);
    EBB_TEST_POINT("reclaim.stored");
    full = store_pages_.pool_was_full();
    busy = store_pages_.disk_was_busy();
    parts_.sink->Submit(std::move(stored), std::move(give_back));
  }
  if (wanted > 0) pool_is_full_.store(full, std::memory_order_relaxed);
  if (full) {
    pool_full_until_ns_ = now_ns + kPoolFullPauseNs;
    pool_full_bytes_ = parts_.state->pool().stats().object_bytes;
  }
}

// Makes room in the pool, for this VM and for others. True while the disk is at work.
bool Reclaim::WriteBack(int64_t now_ns) {
  if (!writeback_.has_disk()) return false;
  uint64_t wanted = parts_.state->pool().excess_bytes();
  if (PoolIsFull()) wanted = std::max(wanted, kWriteBackWhenFullBytes);
  const bool writing = writeback_.Run(wanted, now_ns);
  SubmitWritten();
  return writing;
}

// In batches of one run, as if they had been stored.
void Reclaim::SubmitWritten() {
  std::vector<StoredPage> written;
  std::vector<ClaimedPage> give_back;
  writeback_.TakeEnded(&written, &give_back);
  if (!give_back.empty()) parts_.sink->Submit({}, std::move(give_back));
  std::sort(written.begin(), written.end(),
            [](const StoredPage& a, const StoredPage& b) { return a.claim.page < b.claim.page; });
  for (auto first = written.begin(); first != written.end();) {
    const PageRange run = parts_.memory->FirstRun({first->claim.page, kCohortPages});
    const auto end = std::find_if(first, written.end(), [run](const StoredPage& page) {
      return !run.Contains(page.claim.page);
    });
    parts_.sink->Submit({first, end}, {});
    first = end;
  }
}

void Reclaim::GiveUp() {
  for (Queue* queue : {&cooling_, &guarded_, &ready_}) {
    while (!queue->cohorts.empty()) parts_.sink->Submit({}, queue->Pop().pages);
  }
  std::vector<ClaimedPage> being_written;
  writeback_.GiveUp(&being_written);
  if (!being_written.empty()) parts_.sink->Submit({}, std::move(being_written));
  parts_.residency->SetReady(0);
}

std::vector<Reclaim::Cohort> Reclaim::Queued() const {
  std::vector<Cohort> queued;
  for (const Queue* queue : {&cooling_, &guarded_, &ready_}) {
    queued.insert(queued.end(), queue->cohorts.begin(), queue->cohorts.end());
  }
  return queued;
}

Reclaim::Status Reclaim::status() const {
  return {cooling_.pages, guarded_.pages, ready_.pages, reserve_target_};
}

}  // namespace ebb
