// SPDX-License-Identifier: MIT
#include "tests/explorer/world.h"

#include <xxhash.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <deque>
#include <string_view>
#include <utility>

#include "absl/strings/str_format.h"
#include "hostd/base/test_points.h"
#include "hostd/swap/drop.h"
#include "hostd/tiers/same_filled.h"
#include "tests/fakes/page_content.h"

#ifndef EBB_TEST_POINTS
#error "the explorer needs the points at which ebbd touches page words and records"
#endif

namespace ebb::explorer {
namespace {

constexpr uint32_t kSpareRecords = 3;
// Longer than anything in ebbd waits for the next try.
constexpr int64_t kLongNs = 100 * kNsPerS;

// What the explorer's pages hold needs no storage.
class NoPoolMemory : public PoolMemory {
 public:
  std::byte* data() const override { return nullptr; }
  uint64_t bytes() const override { return 0; }
  bool Allocate(uint64_t, uint64_t) override { return false; }
  void Free(uint64_t, uint64_t) override {}
};
NoPoolMemory no_pool_memory;

// It takes file descriptors; nobody sleeps here.
ReclaimAlarm& Alarm() {
  static ReclaimAlarm alarm;
  return alarm;
}

uint32_t RecordsFor(uint64_t pages) { return static_cast<uint32_t>(pages) + kSpareRecords; }

const Likeness* likeness = nullptr;

// Every operation on a page word and every look at a record is a step; what else happens to the
// table of records is part of the step before it.
void OnTestPoint(const char* name, uint64_t what) {
  EbbdThread* const self = EbbdThread::Current();
  if (self == nullptr) return;
  const std::string_view point = name;
  if (point.starts_with("word.") || point == "record.load") self->Touch(name);

  const EbbdThread::InKernel not_a_step;
  if (point == "word.load" || point == "word.leave") {
    self->See(likeness->WordNow({what}));
  } else if (point.starts_with("word.")) {
    self->SeeChange({what});
  } else if (point == "record.load") {
    self->See(likeness->RecordNow({static_cast<uint32_t>(what)}));
  } else if (point == "record.allocate" || point == "discard_order.asked") {
    self->See(Seen::Value(what));
  } else {
    self->AtPoint(point);
    // What comes first there is for the statistics.
    if (point == "serve.fault") self->GoOn();
  }
}

// Finishes at once, on the thread that stored.
class InlineMover : public DropSink {
 public:
  InlineMover(GuestMemory* memory, SwapState* state) : memory_(memory), state_(state) {}

  void Submit(std::vector<StoredPage> drop, std::vector<ClaimedPage> give_back) override {
    if (!drop.empty()) DropPages(memory_, state_, drop);
    GivePagesBack(memory_, state_, give_back);
  }

 private:
  GuestMemory* const memory_;
  SwapState* const state_;
};

// What is to be dropped and given back by a thread of its own.
class QueuedMover : public DropSink {
 public:
  QueuedMover(GuestMemory* memory, SwapState* state) : mover_(memory, state) {}

  void Submit(std::vector<StoredPage> drop, std::vector<ClaimedPage> give_back) override {
    batches_.push_back({std::move(drop), std::move(give_back)});
  }
  bool HasWork() const { return !batches_.empty(); }
  void RunBatch() {
    const Batch batch = std::move(batches_.front());
    batches_.pop_front();
    mover_.Submit(batch.drop, batch.give_back);
  }
  uint64_t Fingerprint(const Likeness& likeness_of) const {
    Sight sight;
    for (const Batch& batch : batches_) {
      sight.push_back(Seen::Value(batch.drop.size()));
      for (const StoredPage& page : batch.drop) {
        sight.push_back(Seen::Word(page.claim.page, page.claim.word));
        sight.push_back(Seen::Value(page.id.value));
      }
      for (const ClaimedPage& page : batch.give_back) {
        sight.push_back(Seen::Word(page.page, page.word));
      }
    }
    return likeness_of.Of(sight);
  }

 private:
  struct Batch {
    std::vector<StoredPage> drop;
    std::vector<ClaimedPage> give_back;
  };
  InlineMover mover_;
  std::deque<Batch> batches_;
};

// What still matters of what a fault thread has seen: the messages it read at once and how many of
// them it is done with, what it has put aside, and what it saw since it last began with a fault.
class SeenByServer {
 public:
  void AtPoint(const FaultServer& server, std::string_view point, Sight* seen) {
    if (point == "rest") {
      done_ = 0;
      seen->clear();
      SeeAside(server, seen);
    } else if (point == "serve.message") {
      if (done_ == 0) batch_ = *seen;
      *seen = batch_;
      seen->push_back(Seen::Value(++done_));
      SeeAside(server, seen);
    } else if (point == "serve.fault") {
      begin_ = *seen;
    } else if (point == "fault.begin") {
      *seen = begin_;
    }
  }

 private:
  static void SeeAside(const FaultServer& server, Sight* seen) {
    seen->push_back(Seen::Value(server.is_short_of_memory() ? 1 : 0));
    for (const FaultServer::Fault& fault : server.aside()) {
      seen->push_back(Seen::Value(fault.page.value << 8 | static_cast<uint64_t>(fault.kind)));
    }
  }

  Sight batch_;
  uint64_t done_ = 0;
  Sight begin_;
};

// Reclaim, and what it needs of its own.
struct Reclaimer {
  Reclaimer(const Scenario& scenario, YieldingMemory* memory, SwapState* state,
            Residency* residency, ExploredBarrier* explored_barrier, DropSink* sink)
      : mover(memory, state),
        barrier(explored_barrier),
        reclaim({memory, state, residency, barrier, sink != nullptr ? sink : &mover}),
        eager(scenario.eager),
        passes_left(scenario.passes) {}

  // Another pass would do something.
  bool HasWork() const {
    const Reclaim::Status status = reclaim.status();
    if (passes_left == 0) return false;
    if (status.guarded == 0 || status.cooling + status.ready > 0) return true;
    return (eager && barrier->started() > seen_start) || barrier->safe_before() > seen_barrier ||
           barrier->CanBeWanted();
  }
  void RunPass() {
    --passes_left;
    seen_barrier = barrier->safe_before();
    seen_start = barrier->started();
    now_ns += kLongNs;
    reclaim.RunPass(now_ns, /*once_target=*/0);
  }

  // Between two passes and at the start of their parts its queues are all it knows.
  void AtPoint(std::string_view point, Sight* seen) const {
    if (point != "rest" && point != "reclaim.guard" && point != "reclaim.cool") return;
    const Reclaim::Status status = reclaim.status();
    *seen = {Seen::Value(static_cast<uint64_t>(passes_left)), Seen::Value(status.cooling),
             Seen::Value(status.guarded)};
    for (const Reclaim::Cohort& cohort : reclaim.Queued()) {
      if (status.cooling == 0) seen->push_back(barrier->Age(cohort.since_ns));
      for (const ClaimedPage& page : cohort.pages) {
        seen->push_back(Seen::Word(page.page, page.word));
      }
    }
    seen->push_back(Seen::Value(barrier->safe_before() > seen_barrier));
    seen->push_back(Seen::Value(eager && barrier->started() > seen_start));
  }

  InlineMover mover;
  ExploredBarrier* barrier;
  Reclaim reclaim;
  const bool eager;
  int passes_left;
  int64_t seen_barrier = 0;
  int64_t seen_start = 0;
  int64_t now_ns = kLongNs;
};

}  // namespace

World::World(const Scenario& scenario)
    : scenario_(scenario),
      kernel_(scenario.pages),
      memory_(&kernel_),
      words_(PageWords::BytesFor(scenario.pages)),
      records_(SwapDescTable::BytesFor(RecordsFor(scenario.pages))),
      state_({words_.data(), records_.data(), &no_pool_memory}, scenario.pages,
             RecordsFor(scenario.pages)),
      likeness_(&state_, scenario.pages, RecordsFor(scenario.pages)),
      barrier_(scenario.barriers, scenario.barrier_wanted),
      guest_(scenario, &kernel_, &barrier_) {
  likeness = &likeness_;
  ObserveTestPoints(OnTestPoint);
  kernel_.SetAutoRun(false);
  kernel_.Register({{0}, scenario.pages});
  kernel_.WatchWords(&state_.words());
  actors_ = guest_.MakeActors();
  AddFaultThread();
  AddReclaim();
  AddPrefetch();
}

void World::AddFaultThread() {
  auto server =
      std::make_shared<FaultServer>(FaultServer::Parts{&memory_, &state_, &residency_, &Alarm()});
  actors_.push_back(std::make_unique<EbbdThread>(EbbdThread::Parts{
      .name = "fault thread",
      .likeness = &likeness_,
      .body =
          [server] {
            for (int64_t now_ns = kLongNs;; now_ns += kLongNs) {
              server->ServePending(now_ns);
              EbbdThread::Current()->Rest();
            }
          },
      .has_work =
          [this, server] {
            // Trying again while the memory map still changes would change nothing.
            return kernel_.HasMessages() ||
                   (!server->aside().empty() && (!kernel_.MapChanges() || guest_.exited()));
          },
      .at_point = [server, memory = SeenByServer()](
                      std::string_view point,
                      Sight* seen) mutable { memory.AtPoint(*server, point, seen); },
  }));
}

void World::AddReclaim() {
  const auto mover = std::make_shared<QueuedMover>(&memory_, &state_);
  if (scenario_.has_mover) {
    fingerprint_mover_ = [this, mover] { return mover->Fingerprint(likeness_); };
    actors_.push_back(std::make_unique<EbbdThread>(EbbdThread::Parts{
        .name = "mover",
        .likeness = &likeness_,
        .body =
            [mover] {
              for (;;) {
                mover->RunBatch();
                EbbdThread::Current()->Rest();
              }
            },
        .has_work = [mover] { return mover->HasWork(); },
        .at_point =
            [](std::string_view point, Sight* seen) {
              if (point == "rest") seen->clear();
            },
    }));
  }
  for (int i = 0; i < scenario_.reclaimers; ++i) {
    auto reclaimer =
        std::make_shared<Reclaimer>(scenario_, &memory_, &state_, &residency_, &barrier_,
                                    scenario_.has_mover ? mover.get() : nullptr);
    actors_.push_back(std::make_unique<EbbdThread>(EbbdThread::Parts{
        .name = absl::StrFormat("reclaim %d", i + 1),
        .likeness = &likeness_,
        .body =
            [reclaimer] {
              for (;;) {
                reclaimer->RunPass();
                EbbdThread::Current()->Rest();
              }
            },
        .has_work = [reclaimer] { return reclaimer->HasWork(); },
        .at_point = [reclaimer](std::string_view point,
                                Sight* seen) { reclaimer->AtPoint(point, seen); },
    }));
  }
}

void World::AddPrefetch() {
  for (int i = 0; i < scenario_.prefetchers; ++i) {
    const PageIndex page{static_cast<uint64_t>(i) % scenario_.pages};
    auto swap_in = std::make_shared<SwapIn>(&memory_, &state_);
    actors_.push_back(std::make_unique<EbbdThread>(EbbdThread::Parts{
        .name = "prefetch",
        .likeness = &likeness_,
        .body =
            [this, swap_in, page] {
              const PageWord word = state_.words().Load(page);
              if (word.state() == PageState::kSwapped) swap_in->Run(page, word);
            },
        .has_work = [this,
                     page] { return state_.words().Load(page).state() == PageState::kSwapped; },
        .at_point = [](std::string_view, Sight*) {},
    }));
  }
}

std::string World::Describe() const {
  std::string text;
  for (uint64_t page = 0; page < scenario_.pages; ++page) {
    PageWord word;
    std::memcpy(&word, words_.data() + page * sizeof word, sizeof word);
    const FakeGuestMemory::View view = kernel_.Look({page});
    absl::StrAppendFormat(
        &text, " page %d: %s%s%s%s, %s", page, PageStateName(word.state()),
        word.waiter() ? " waiter" : "", word.discarded() ? " discarded" : "",
        word.swap_id() ? absl::StrFormat(" #%d", word.swap_id().value) : "",
        view.hole ? "hole"
                  : absl::StrFormat("holds %d", static_cast<int>(kernel_.Content({page})[0])));
    if (view.mapped) text += " mapped";
    if (view.write_protected) text += " protected";
  }
  return text;
}

World::Fingerprint World::TakeFingerprint() {
  std::vector<uint64_t> parts = {
      kernel_.Fingerprint(),
      guest_.Fingerprint(),
      barrier_.Fingerprint(),
      likeness_.Words(),
      likeness_.Records(),
      uint64_t{state_.discard_order().Handled(state_.discard_order().ReadsBegun())},
      state_.stats().swapped_pages,
      fingerprint_mover_ ? fingerprint_mover_() : 0};
  for (const auto& actor : actors_) parts.push_back(actor->Fingerprint());
  const XXH128_hash_t hash = XXH3_128bits(parts.data(), parts.size() * sizeof parts[0]);
  return {hash.high64, hash.low64};
}

std::string World::WrongNow() {
  if (!guest_.wrong().empty()) return guest_.wrong();
  const std::vector<std::string> violations = kernel_.Violations();
  if (!violations.empty()) return violations.front();
  if (std::string wrong = WrongRecords(); !wrong.empty()) return wrong;
  if (guest_.exited()) return "";
  for (uint64_t page = 0; page < scenario_.pages; ++page) {
    if (std::string wrong = WrongPage({page}); !wrong.empty()) return wrong;
  }
  return "";
}

// The page as the next ebbd would find it.
std::string World::WrongPage(PageIndex page) {
  const PageWord word = state_.words().Load(page);
  const bool hole = kernel_.Look(page).hole;
  switch (word.state()) {
    case PageState::kDropping:
      return WrongRecord(page, word);
    case PageState::kSwapped:
      if (!hole && scenario_.failed_punches + scenario_.foreign_writes == 0) {
        return absl::StrFormat("page %d is Swapped and there", page.value);
      }
      return WrongRecord(page, word);
    case PageState::kSwappingIn:
      if (hole || scenario_.foreign_writes > 0) return WrongRecord(page, word);
      break;
    case PageState::kLost:
      if (scenario_.foreign_writes > 0) return WrongRecord(page, word);
      return absl::StrFormat("page %d is lost", page.value);
    default:
      break;
  }
  const std::byte value = kernel_.Content(page)[0];
  if (guest_.expected(page).Allows(value)) return "";
  return absl::StrFormat("page %d holds %d in %s", page.value, static_cast<int>(value),
                         PageStateName(word.state()));
}

std::string World::WrongRecord(PageIndex page, PageWord word) {
  const SwapDesc desc = state_.table().Load(word.swap_id());
  const bool has_record = word.swap_id() != kZeroPageId;
  if (desc.location.tier() != TierKind::kSameFilled) {
    return absl::StrFormat("page %d: its record is free or foreign", page.value);
  }
  PageContent content;
  FillSame(content.data(), desc.location.same_filled_value());
  if (has_record && PageChecksum(content.data(), page, word.generation()) != desc.checksum) {
    return absl::StrFormat("page %d: its record fails its checksum", page.value);
  }
  const Expectation& expected = guest_.expected(page);
  if (word.state() == PageState::kSwappingIn ? expected.AllowsFromRecord(content[0])
                                             : expected.Allows(content[0])) {
    return "";
  }
  return absl::StrFormat("page %d: its record holds %d", page.value, static_cast<int>(content[0]));
}

// No id is retired twice, or retired while a word names it.
std::string World::WrongRecords() {
  std::vector<SwapId> unused = state_.table().UnusedIds();
  std::sort(unused.begin(), unused.end());
  if (std::adjacent_find(unused.begin(), unused.end()) != unused.end()) {
    return "a record was freed twice";
  }
  for (uint64_t page = 0; page < scenario_.pages; ++page) {
    const SwapId id = state_.words().Load({page}).swap_id();
    if (id && std::binary_search(unused.begin(), unused.end(), id)) {
      return absl::StrFormat("page %d: its record was freed", page);
    }
  }
  return "";
}

std::string World::WrongAtTheEnd() {
  uint64_t named = 0;
  uint64_t zeros = 0;
  for (uint64_t page = 0; page < scenario_.pages; ++page) {
    const PageWord word = state_.words().Load({page});
    if (IsOwned(word.state())) return absl::StrFormat("page %d is owned for ever", page);
    if (word.swap_id() == kZeroPageId) {
      ++zeros;
    } else if (word.swap_id()) {
      ++named;
    }
  }
  if (!guest_.exited() && !guest_.AllDone()) return "a thread sleeps for ever";
  state_.ReapRetired();
  uint64_t in_use = 0;
  for (uint32_t id = 1; id <= RecordsFor(scenario_.pages); ++id) {
    if (state_.table().Load({id}).location.tier() != TierKind::kFree) ++in_use;
  }
  if (in_use != named) {
    return absl::StrFormat("%d records are in use, and %d pages are swapped", in_use, named);
  }
  if (state_.stats().swapped_pages != named + zeros) return "the count of swapped pages is wrong";
  return "";
}

}  // namespace ebb::explorer
