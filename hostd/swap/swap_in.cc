// SPDX-License-Identifier: MIT
#include "hostd/swap/swap_in.h"

#include <algorithm>
#include <cstring>
#include <span>

#include "hostd/base/clock.h"
#include "hostd/base/test_points.h"
#include "hostd/base/wait_checks.h"
#include "hostd/swap/discard.h"
#include "hostd/swap/disk_object.h"
#include "hostd/tiers/page_codec.h"
#include "hostd/tiers/same_filled.h"

namespace ebb {
namespace {

// A read that fails is tried again at once: what fails for good is the disk, or this part of it.
constexpr int kMaxReadTries = 3;
// How near a page must be to come back with another one.
constexpr uint64_t kReadAheadPages = 64;
// What came back within so many generations of the pool came back soon.
constexpr uint32_t kSoonGenerations = 4;

}  // namespace

void RetireRecord(SwapState* state, SwapId id) {
  SwapStats& stats = state->stats();
  Uncount(stats.swapped_pages);
  if (state->table().Load(id).location.tier() == TierKind::kSameFilled) {
    Uncount(stats.same_filled_pages);
  }
  state->table().Retire(id);
}

PageOutcome SwapIn::Run(PageIndex page, PageWord word) {
  if (!state_->words().TryMove(page, word, PageState::kSwappingIn, word.swap_id())) {
    return PageOutcome::kChanged;
  }
  EBB_TEST_POINT("swap_in.owned");
  return BringBack(page, word);
}

// The page is ours.
PageOutcome SwapIn::BringBack(PageIndex page, PageWord word) {
  SwapLocation location;
  switch (Produce(page, word, &location)) {
    case Produced::kReady:
      EBB_TEST_POINT("swap_in.produced");
      return Deliver(page, word);
    case Produced::kOnDisk:
      return StartRead(page, word, location);
    case Produced::kWrong:
      break;
  }
  return Lose(page, word, "its stored content fails its checksum");
}

// Reads the record and checks it, into the bounce buffer, unless it says that the disk has it: then
// `location` says where.
SwapIn::Produced SwapIn::Produce(PageIndex page, PageWord word, SwapLocation* location) {
  const SwapId id = word.swap_id();
  const RecordReaders::Reading reading(&reader_);
  const SwapDesc desc = state_->table().Load(id);
  switch (desc.location.tier()) {
    case TierKind::kSameFilled:
      FillSame(bounce_.data(), desc.location.same_filled_value());
      break;
    case TierKind::kPool:
      if (!Decode(desc.location)) return Produced::kWrong;
      break;
    case TierKind::kDisk:
      *location = desc.location;
      return Produced::kOnDisk;
    default:
      return Produced::kWrong;
  }
  if (id == kZeroPageId) return Produced::kReady;
  if (!IsRight(page, word, desc.checksum)) return Produced::kWrong;
  // Under ownership the record may move, but nobody may free it.
  const SwapDesc after = state_->table().Load(id);
  const bool same = after.location.tier() != TierKind::kFree && after.checksum == desc.checksum;
  return same ? Produced::kReady : Produced::kWrong;
}

bool SwapIn::IsRight(PageIndex page, PageWord word, uint32_t checksum) const {
  return PageChecksum(bounce_.data(), page, word.generation()) == checksum;
}

bool SwapIn::Decode(SwapLocation location) {
  return DecodePage(location.codec(),
                    state_->pool().Object(location.pool_handle(), location.length_bytes()),
                    bounce_.data());
}

// ---- From the disk
// --------------------------------------------------------------------------------

PageOutcome SwapIn::StartRead(PageIndex page, PageWord word, SwapLocation location) {
  EBB_TEST_POINT("swap_in.read");
  if (!reads_.Start({page, word, location})) return Undo(page, word, PageOutcome::kRetry);
  // It belongs to the read, which ends whatever this thread waits for.
  NoteLeft();
  return PageOutcome::kReading;
}

std::optional<SwapIn::ReadPage> SwapIn::NextRead(bool read_ahead) {
  while (const std::optional<DiskReads::Ended> ended = reads_.Next()) {
    ReadPage done;
    done.page = ended->read.page;
    done.outcome = EndRead(*ended, read_ahead, &done.read_ahead_pages);
    if (done.outcome != PageOutcome::kReading) return done;
  }
  if (const std::optional<int64_t> since_ns = reads_.OldestStartNs()) {
    state_->disk()->tier().NoteWaiting(*since_ns, MonotonicNs());
  }
  return std::nullopt;
}

PageOutcome SwapIn::EndRead(const DiskReads::Ended& ended, bool read_ahead,
                            uint64_t* read_ahead_pages) {
  const auto& [page, word, location, tries] = ended.read;
  NoteOwned(PageStateName(PageState::kSwappingIn));
  EBB_TEST_POINT("swap_in.read_ended");
  state_->disk()->tier().NoteRead(ended.ok);
  if (!ended.ok) {
    if (tries + 1 < kMaxReadTries) {
      if (reads_.TryAgain(ended.slot)) {
        NoteLeft();
        return PageOutcome::kReading;
      }
      return Undo(page, word, PageOutcome::kRetry);
    }
    reads_.Release(ended.slot);
    return Lose(page, word, "the disk does not give its content back");
  }
  // Asked after the read: where it lies still, nothing else has been written.
  const SwapDesc desc = state_->table().Load(word.swap_id());
  if (desc.location != location) {
    reads_.Release(ended.slot);
    return BringBack(page, word);
  }
  const ConstDiskBlock block = reads_.Block(ended.slot);
  PageOutcome outcome = PageOutcome::kLost;
  if (DecodeDiskObject(block, location, bounce_.data()) && IsRight(page, word, desc.checksum)) {
    outcome = Deliver(page, word);
    if (outcome == PageOutcome::kServed && read_ahead) {
      *read_ahead_pages = BringNeighbours(block, page, location);
    }
  } else {
    outcome = Lose(page, word, "its content on the disk fails its checksum");
  }
  reads_.Release(ended.slot);
  return outcome;
}

// The page it was read for is served: what else the block has of pages near it costs no read.
uint64_t SwapIn::BringNeighbours(ConstDiskBlock block, PageIndex page, SwapLocation from) {
  if (from.codec() == Codec::kRaw) return 0;
  std::array<BlockMember, kMaxBlockMembers> members;
  const size_t count = ReadMembers(block, members);
  uint64_t brought = 0;
  for (const BlockMember& member : std::span(members).first(count)) {
    const uint64_t distance = std::max(member.page, page).value - std::min(member.page, page).value;
    if (distance == 0 || distance > kReadAheadPages) continue;
    if (BringNeighbour(block, member, from)) ++brought;
  }
  return brought;
}

bool SwapIn::BringNeighbour(ConstDiskBlock block, BlockMember member, SwapLocation from) {
  const std::optional<PageWord> swapped = SwappedMember(state_, member);
  if (!swapped) return false;
  const PageWord word = *swapped;
  if (!state_->words().TryMove(member.page, word, PageState::kSwappingIn, member.id)) return false;
  const SwapDesc desc = state_->table().Load(member.id);
  const bool here = desc.location.tier() == TierKind::kDisk &&
                    desc.location.disk_location().device == from.disk_location().device &&
                    desc.location.disk_location().block == from.disk_location().block;
  // Whether it is lost shows when somebody wants it.
  if (!here || !DecodeDiskObject(block, desc.location, bounce_.data()) ||
      !IsRight(member.page, word, desc.checksum)) {
    Undo(member.page, word, PageOutcome::kChanged);
    return false;
  }
  if (Deliver(member.page, word) != PageOutcome::kServed) return false;
  Count(state_->stats().read_ahead);
  return true;
}

// ---- Into guest RAM
// -------------------------------------------------------------------------------

PageOutcome SwapIn::Deliver(PageIndex page, PageWord word) {
  return Settle(page, word, memory_->Fill(page, bounce_.data()));
}

PageOutcome SwapIn::Settle(PageIndex page, PageWord word, OsResult filled) {
  switch (filled) {
    case OsResult::kDone:
      return FinishInPlace(page, word);
    case OsResult::kExists:
      return FindExisting(page, word);
    case OsResult::kRetry:
      return Undo(page, word, PageOutcome::kRetry);
    case OsResult::kNoMemory:
      return Undo(page, word, PageOutcome::kNoMemory);
    case OsResult::kGone:
      return Undo(page, word, PageOutcome::kGone);
    case OsResult::kNotMapped:
      return Undo(page, word, PageOutcome::kNotMapped);
    case OsResult::kFailed:
      break;
  }
  return Undo(page, word, PageOutcome::kFailed);
}

PageOutcome SwapIn::FinishInPlace(PageIndex page, PageWord word) {
  EBB_TEST_POINT("swap_in.filled");
  const PageWord left = state_->words().Leave(page, PageState::kResident);
  if (left.waiter()) memory_->Wake({page, 1});
  const auto generations = state_->writeback_order().GenerationsSince(word.swap_id());
  state_->come_backs().Note(page, generations && *generations < kSoonGenerations);
  RetireRecord(state_, word.swap_id());
  if (word.state() == PageState::kLost) Uncount(state_->stats().lost_pages);
  Count(state_->stats().swapped_in);
  return PageOutcome::kServed;
}

// There is a page where we punched a hole: somebody wrote to the RAM behind our back, or the punch
// failed and the page never left. Only identical content is safe to go on with.
PageOutcome SwapIn::FindExisting(PageIndex page, PageWord word) {
  Count(state_->stats().foreign_pages);
  std::array<std::byte, kPageBytes> existing;
  const bool same = memory_->Read(page, existing.data()) == OsResult::kDone &&
                    std::memcmp(existing.data(), bounce_.data(), kPageBytes) == 0;
  if (!same) {
    // Discarded by the guest after Fill found it: what was read is a hole, and nobody's content.
    // It stays one while the page is ours, so who is there the second time is no guest.
    const bool hole = memory_->NextPresent({page, 1}).count == 0;
    const OsResult filled = hole ? memory_->Fill(page, bounce_.data()) : OsResult::kExists;
    if (filled != OsResult::kExists) return Settle(page, word, filled);
    return Lose(page, word, "another process wrote to it while it was swapped out");
  }
  // Fill woke nobody; taking protection off does.
  if (memory_->Unprotect(page) != OsResult::kDone) return Undo(page, word, PageOutcome::kRetry);
  return FinishInPlace(page, word);
}

PageOutcome SwapIn::Undo(PageIndex page, PageWord word, PageOutcome outcome) {
  // What was lost still is, as long as it could not be tried.
  const PageState to = word.state() == PageState::kLost ? PageState::kLost : PageState::kSwapped;
  const PageWord left = state_->words().Leave(page, to, word.swap_id());
  if (left.discarded()) {
    TryDiscard(memory_, state_, page, left.MovedTo(to, word.swap_id()));
  }
  if (left.waiter()) memory_->Wake({page, 1});
  return outcome;
}

PageOutcome SwapIn::Lose(PageIndex page, PageWord word, const char* reason) {
  const PageWord left = state_->words().Leave(page, PageState::kLost, word.swap_id());
  if (word.state() != PageState::kLost) Count(state_->stats().lost_pages);
  if (left.discarded()) {
    TryDiscard(memory_, state_, page, left.MovedTo(PageState::kLost, word.swap_id()));
  }
  // Who came while we tried asks again, and is put aside with the others that wait for this page.
  if (left.waiter()) memory_->Wake({page, 1});
  // Said once, not for every try.
  if (word.state() != PageState::kLost) state_->losses().Post(page, reason);
  return PageOutcome::kLost;
}

}  // namespace ebb
