// SPDX-License-Identifier: MIT
#include "tests/model/engine.h"

#include <algorithm>
#include <array>
#include <utility>

#include "absl/strings/str_format.h"
#include "hostd/swap/reclaim_alarm.h"
#include "hostd/tiers/same_filled.h"
#include "tests/hostd/swap/stored_page.h"

namespace ebb::model {
namespace {

constexpr uint32_t kRecords = Engine::kPages + 16;
constexpr uint64_t kPoolBytes = kMiB;
constexpr uint64_t kDiskBytes = 2 * kMiB;
// Of empty spans that it may keep.
constexpr uint64_t kSpareBytes = PagesToBytes(10);
// Refused fills are tried again sooner, lost pages later.
constexpr int64_t kShortNs = kNsPerS / 2;
constexpr int64_t kLongNs = 100 * kNsPerS;

// Zeros, one value, what does not compress, and what compresses to any size: mostly to one of a
// few, so that the pool has spans of several objects.
PageContent ContentFor(uint32_t value) {
  const uint32_t choice = value % 16;
  if (choice < 2) return {};
  if (choice < 4) {
    PageContent content;
    FillSame(content.data(), value);
    return content;
  }
  if (choice == 4) return RandomContent(value);
  constexpr std::array<size_t, 4> kSizes = {900, 1700, 900, 2700};
  return PartlyRandomContent(value, choice < 14 ? kSizes[choice % 4] : value % 3000);
}

ReclaimAlarm* Alarm() {
  static ReclaimAlarm alarm;
  return &alarm;
}

}  // namespace

Engine::Engine(bool with_disk)
    : words_(PageWords::BytesFor(kPages)),
      records_(SwapDescTable::BytesFor(kRecords)),
      pool_(kPoolBytes),
      allowed_(kPages, {PageContent{}}) {
  auto disk = std::make_unique<FakeDisk>(kDiskBytes);
  disk_ = disk.get();
  tier_.emplace("a disk", std::move(disk));
  state_.emplace(SwapState::Memory{words_.data(), records_.data(), &pool_}, kPages, kRecords,
                 with_disk ? *DiskShare::Create(&*tier_) : nullptr);
  writeback_.emplace(&*state_);
  store_pages_.emplace(&memory_, &*state_, &*writeback_);
  server_.emplace(FaultServer::Parts{&memory_, &*state_, &residency_, Alarm()},
                  with_disk ? *tier_->OpenQueue(DiskReads::kMaxReads, kDiskBlockBytes) : nullptr);
  memory_.Register({{0}, kPages});
  memory_.WatchWords(&state_->words());
}

Engine::~Engine() = default;

std::optional<std::string> Engine::Run(std::span<const Operation> operations) {
  for (const Operation& operation : operations) {
    Do(operation);
    if (wrong_) return wrong_;
  }
  Finish();
  return wrong_;
}

std::optional<std::string> Engine::RunAndGo(std::span<const Operation> operations) {
  for (const Operation& operation : operations) {
    Do(operation);
    if (wrong_) return wrong_;
  }
  server_.reset();
  store_pages_.reset();
  writeback_.reset();
  memory_.WatchWords(nullptr);
  state_.reset();
  disk_->Complete();
  tier_->ReapAdopted();
  if (tier_->space().free_segments() != tier_->space().segments()) {
    Fail("the VM has gone, and has segments of the disk");
  }
  return wrong_;
}

void Engine::Do(const Operation& operation) {
  switch (operation.kind) {
    case Operation::Kind::kWrite:
      return Write(operation.page, operation.value);
    case Operation::Kind::kRead:
      return Read(operation.page);
    case Operation::Kind::kGuard:
      return Guard(operation.page, operation.value + 1);
    case Operation::Kind::kStore:
      return Store();
    case Operation::Kind::kDrop:
      return Drop();
    case Operation::Kind::kGiveBack:
      return GiveBack();
    case Operation::Kind::kDiscard:
      return Discard(operation.page, operation.value + 1);
    case Operation::Kind::kReap:
      return state_->ReapRetired();
    case Operation::Kind::kCompact:
      state_->Compact();
      return;
    case Operation::Kind::kRefuseFills:
      return memory_.FailNext(GuestOp::kFill,
                              operation.page % 2 ? OsResult::kRetry : OsResult::kNoMemory,
                              operation.value);
    case Operation::Kind::kFillHost:
      return pool_.SetFull(operation.value % 2 != 0);
    case Operation::Kind::kSpoil:
      return Spoil(operation.page, operation.value);
    case Operation::Kind::kHeal:
      return Heal();
    case Operation::Kind::kWriteBack:
      return WriteBack(operation.value * kMiB / 1024);
    case Operation::Kind::kDiskAnswers:
      return DiskAnswers(operation.value + 1);
    case Operation::Kind::kFailReads:
      reads_failed_ = true;
      return disk_->FailNextReads(operation.value);
    case Operation::Kind::kFailWrites:
      return disk_->FailNextWrites(operation.value);
  }
}

// ---- The guest
// -----------------------------------------------------------------------------------

void Engine::Write(uint32_t page, uint32_t value) {
  if (waiting_.count(page) != 0 || reading_.count(page) != 0) return;
  // Faults like any write; then the page is the guest's, and the rest of it is written, too.
  const auto thread = memory_.StartOverwrite({page}, std::byte{0});
  Serve(kShortNs);
  while (memory_.Blocked(thread) && disk_->pending() > 0) DiskAnswers(1);
  if (!MayGoOn(page, thread)) return;
  if (memory_.Blocked(thread)) {
    // It writes when the page can be had, in Heal().
    allowed_[page] = {PageContent{}};
    return;
  }
  memory_.Populate({page}, ContentFor(value));
  allowed_[page] = {ContentFor(value)};
}

void Engine::Read(uint32_t page) {
  if (waiting_.count(page) != 0 || reading_.count(page) != 0) return;
  const auto thread = memory_.StartRead({page});
  Serve(kShortNs);
  if (memory_.Blocked(thread) && state_->words().Load({page}).state() == PageState::kSwappingIn) {
    reading_[page] = thread;
    return;
  }
  if (!MayGoOn(page, thread)) return;
  if (!memory_.Blocked(thread)) Compare(page, memory_.ContentRead(thread));
}

bool Engine::MayGoOn(uint32_t page, FakeGuestMemory::ThreadId thread) {
  if (!memory_.Blocked(thread)) return true;
  const PageWord word = state_->words().Load({page});
  if (word.state() == PageState::kLost && (IsSpoilt(page) || reads_failed_)) {
    waiting_[page] = thread;
    ++times_held_;
    return true;
  }
  Fail(absl::StrFormat("page %d: nobody answers, in %s", page, PageStateName(word.state())));
  return false;
}

void Engine::Compare(uint32_t page, const PageContent& content) {
  std::vector<PageContent>& allowed = allowed_[page];
  if (std::find(allowed.begin(), allowed.end(), content) == allowed.end()) {
    return Fail(absl::StrFormat("page %d reads as what was not written to it", page));
  }
  // What it was once, it stays.
  allowed = {content};
}

void Engine::Discard(uint32_t first, uint32_t count) {
  const PageRange range = {{first}, std::min(count, kPages - first)};
  memory_.Discard(range);
  for (uint64_t page = first; page < range.end().value; ++page) {
    // Even a thread that waits for a lost page may go on then, and with zeros.
    allowed_[page].push_back(PageContent{});
  }
  Serve(kShortNs);
  for (auto waiting = waiting_.begin(); waiting != waiting_.end();) {
    const auto [page, thread] = *waiting;
    waiting = memory_.Blocked(thread) ? std::next(waiting) : waiting_.erase(waiting);
  }
}

void Engine::Serve(int64_t patience_ns) {
  const int64_t until_ns = now_ns_ + patience_ns;
  for (;;) {
    while (server_->ServePending(now_ns_)) {
    }
    LookAtReads();
    const int64_t due_ns = server_->UntilNextDue(now_ns_);
    if (due_ns < 0 || now_ns_ + due_ns > until_ns) return;
    now_ns_ += std::max<int64_t>(due_ns, 1);
  }
}

// ---- Reclaim
// -------------------------------------------------------------------------------------

void Engine::Guard(uint32_t first, uint32_t count) {
  std::vector<ClaimedPage> guarded;
  for (uint32_t page = first; page < std::min(first + count, kPages); ++page) {
    const PageWord word = state_->words().Load({page});
    if (word.state() != PageState::kResident || memory_.Look({page}).hole) continue;
    guarded.push_back(GuardPage(&memory_, &*state_, {page}));
  }
  if (!guarded.empty()) guarded_.push_back(std::move(guarded));
}

void Engine::Store() {
  if (guarded_.empty()) return;
  std::vector<StoredPage> stored;
  std::vector<ClaimedPage> give_back;
  store_pages_->Run(guarded_.front(), &stored, &give_back);
  guarded_.pop_front();
  GivePagesBack(&memory_, &*state_, give_back);
  if (!stored.empty()) stored_.push_back(std::move(stored));
}

void Engine::Drop() {
  if (stored_.empty()) return;
  DropPages(&memory_, &*state_, stored_.front());
  stored_.pop_front();
}

void Engine::GiveBack() {
  if (guarded_.empty()) return;
  GivePagesBack(&memory_, &*state_, guarded_.front());
  guarded_.pop_front();
}

// ---- The disk
// ------------------------------------------------------------------------------------

void Engine::WriteBack(uint64_t bytes) {
  // Pauses after failed writes pass.
  now_ns_ += kNsPerS;
  writeback_->Run(bytes, now_ns_);
  std::vector<StoredPage> written;
  std::vector<ClaimedPage> give_back;
  writeback_->TakeEnded(&written, &give_back);
  GivePagesBack(&memory_, &*state_, give_back);
  std::sort(written.begin(), written.end(),
            [](const StoredPage& a, const StoredPage& b) { return a.claim.page < b.claim.page; });
  for (size_t done = 0; done < written.size(); done += kDropBatchPages) {
    const size_t end = std::min(written.size(), done + kDropBatchPages);
    stored_.emplace_back(written.begin() + static_cast<ptrdiff_t>(done),
                         written.begin() + static_cast<ptrdiff_t>(end));
  }
}

void Engine::DiskAnswers(size_t count) {
  disk_->Complete(count);
  WriteBack(0);
  Serve(kShortNs);
}

// The cleaner may find something to do again and again; what guests wait for ends soon.
void Engine::DiskAnswersAll() {
  for (int round = 0; round < 20; ++round) {
    DiskAnswers(SIZE_MAX);
    if (disk_->pending() == 0) return;
  }
}

// Of the guest's reads that waited for the disk.
void Engine::LookAtReads() {
  for (auto reading = reading_.begin(); reading != reading_.end();) {
    const auto [page, thread] = *reading;
    if (!memory_.Blocked(thread)) {
      Compare(page, memory_.ContentRead(thread));
    } else if (state_->words().Load({page}).state() == PageState::kLost) {
      if (!MayGoOn(page, thread)) return;
    } else {
      ++reading;
      continue;
    }
    reading = reading_.erase(reading);
  }
}

// ---- Damage
// --------------------------------------------------------------------------------------

void Engine::Spoil(uint32_t page, uint32_t where) {
  const PageWord word = state_->words().Load({page});
  if (word.state() != PageState::kSwapped || IsSpoilt(page)) return;
  // What is being written is copied: whether the copy is whole would be a guess.
  if (word.swap_id() == kZeroPageId || disk_->pending() > 0) return;
  const TierKind tier = state_->table().Load(word.swap_id()).location.tier();
  if (tier != TierKind::kPool && tier != TierKind::kDisk) return;
  spoilt_[page] = {word.generation(), word.swap_id(), where};
  FlipBit(spoilt_[page]);
}

bool Engine::IsSpoilt(uint32_t page) {
  const auto found = spoilt_.find(page);
  if (found == spoilt_.end()) return false;
  const PageWord word = state_->words().Load({page});
  return found->second.generation == word.generation() && found->second.id == word.swap_id();
}

void Engine::FlipBit(const Spoilt& spoilt) {
  const SwapLocation location = state_->table().Load(spoilt.id).location;
  const uint64_t at = spoilt.where % location.length_bytes();
  std::byte* const byte = location.tier() == TierKind::kPool
                              ? pool_.data() + location.pool_handle().value * kPoolGrainBytes +
                                    SpanAllocator::kOwnerBytes + at
                              : disk_->data().data() +
                                    PagesToBytes(location.disk_location().block) +
                                    location.disk_location().offset_bytes + at;
  *byte ^= std::byte{1} << (spoilt.where / 4096 % 8);
}

void Engine::Heal() {
  disk_->FailNextReads(0);
  disk_->FailNextWrites(0);
  DiskAnswersAll();
  for (const auto& [page, spoilt] : spoilt_) {
    // Else it was discarded meanwhile, or read all the same: not every bit matters to LZ4.
    if (IsSpoilt(page)) FlipBit(spoilt);
  }
  spoilt_.clear();
  reads_failed_ = false;
  Serve(kLongNs);
  for (int round = 0; round < 5; ++round) {
    DiskAnswersAll();
    Serve(kLongNs);
  }
  for (const auto& [page, thread] : waiting_) {
    if (memory_.Blocked(thread)) return Fail(absl::StrFormat("page %d does not heal", page));
  }
  waiting_.clear();
}

// ---- The end
// -------------------------------------------------------------------------------------

void Engine::Finish() {
  Heal();
  while (!guarded_.empty()) GiveBack();
  while (!stored_.empty()) Drop();
  for (uint32_t page = 0; page < kPages && !wrong_; ++page) Read(page);
  DiskAnswersAll();
  if (!reading_.empty()) return Fail("the disk has answered, and a guest still waits");
  if (wrong_) return;
  ExpectNothingLeft();
}

void Engine::ExpectNothingLeft() {
  state_->ReapRetired();
  while (state_->Compact()) {
  }
  const std::vector<std::string> violations = memory_.Violations();
  if (!violations.empty()) return Fail(violations.front());
  if (state_->stats().swapped_pages != 0 || state_->stats().same_filled_pages != 0 ||
      state_->stats().lost_pages != 0) {
    return Fail("all pages are back, and some are still counted as swapped");
  }
  if (state_->pool().stats().objects != 0 || state_->pool().stats().object_bytes != 0) {
    return Fail("all pages are back, and the pool still holds objects");
  }
  const bool disk_is_empty =
      state_->disk() == nullptr || state_->disk()->blocks().used_blocks() == 0;
  if (state_->stats().disk_pages != 0 || !disk_is_empty) {
    return Fail("all pages are back, and blocks of the disk are still in use");
  }
  if (state_->writeback_order().objects() != 0) {
    return Fail("all pages are back, and some are still to be written");
  }
  if (pool_.allocated_bytes() != state_->pool().stats().used_bytes) {
    return Fail("the pool does not know how much memory it has");
  }
  if (pool_.allocated_bytes() > kSpareBytes) return Fail("the empty pool keeps its memory");
  for (uint32_t id = 1; id <= kRecords; ++id) {
    if (state_->table().Load({id}).location.tier() == TierKind::kFree) continue;
    return Fail(absl::StrFormat("all pages are back, and record %d is in use", id));
  }
}

void Engine::Fail(const std::string& what) {
  if (!wrong_) wrong_ = what;
}

}  // namespace ebb::model
