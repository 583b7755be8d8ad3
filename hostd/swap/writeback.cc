// SPDX-License-Identifier: MIT
#include "hostd/swap/writeback.h"

#include <algorithm>
#include <cstring>
#include <span>
#include <utility>

#include "hostd/base/check.h"
#include "hostd/base/test_points.h"
#include "hostd/tiers/disk/pack_blocks.h"

namespace ebb {

Writeback::Writeback(SwapState* state)
    : state_(state), disk_(state->disk()), loads_(DiskShare::kMaxWrites) {
  if (disk_ != nullptr) cleaner_.emplace(state);
}

bool Writeback::Run(uint64_t wanted_bytes, int64_t now_ns) {
  if (disk_ == nullptr) return false;
  disk_->tier().ReapAdopted();
  now_ns_ = now_ns;
  while (const auto ended = disk_->NextEnded(now_ns)) {
    if (ended->is_read) {
      cleaner_->EndRead(ended->io, ended->ok);
    } else {
      End(ended->io, ended->ok);
    }
  }
  FlushRaw();
  if (disk_->tier().MayWrite(now_ns)) {
    MakeRoom();
    while (bytes_on_the_way_ + state_->leaving_bytes() < wanted_bytes &&
           StartBatch(Collect(), DiskShare::Purpose::kStore)) {
    }
  }
  return disk_->in_flight() > 0;
}

// ---- From the pool
// --------------------------------------------------------------------------------

// False when there is nothing to be written, or nothing more can be now.
bool Writeback::StartBatch(std::vector<Moving> moving, DiskShare::Purpose purpose) {
  if (moving.empty()) return false;
  Pack(&moving);
  // From the last block on, so that those that find no room can stay as they are.
  bool taken = true;
  while (taken && !moving.empty()) {
    const std::optional<DiskShare::Io> write = disk_->Begin(moving.back().block + 1, purpose);
    if (!write) break;
    Fill(*write, &moving);
    taken = Start(*write);
  }
  for (const Moving& each : moving) Keep(each);
  return taken && moving.empty();
}

// The oldest objects there are.
std::vector<Writeback::Moving> Writeback::Collect() {
  std::vector<Moving> chosen;
  std::vector<WritebackOrder::Taken> not_yet;
  while (chosen.size() < kBatchObjects) {
    const std::optional<WritebackOrder::Taken> oldest = state_->writeback_order().TakeOldest();
    if (!oldest) break;
    // The page is back, and its record waits to be reaped.
    if (state_->table().References(oldest->id) == 0) continue;
    const SwapLocation location = state_->table().Load(oldest->id).location;
    EBB_CHECK(location.tier() == TierKind::kPool, "writing back what is not in the pool");
    const std::optional<PageIndex> page = state_->pool().Owner(location.pool_handle());
    const PageWord word = page ? state_->words().Load(*page) : PageWord();
    if (word.state() == PageState::kSwapped && word.swap_id() == oldest->id) {
      EBB_TEST_POINT("writeback.chosen", oldest->id.value);
      chosen.push_back({*page, oldest->id, oldest->generation, location, {}, 0, {}});
    } else {
      not_yet.push_back(*oldest);
    }
  }
  for (const WritebackOrder::Taken& each : not_yet) {
    state_->writeback_order().PutBack(each.id, each.generation);
  }
  return chosen;
}

// Writes what the cleaner has read, and has it read more.
void Writeback::MakeRoom() {
  std::vector<Moving> moving = TakeFromCleaner();
  if (moving.empty() || StartBatch(std::move(moving), DiskShare::Purpose::kMakeRoom)) {
    cleaner_->Run(now_ns_);
  } else {
    cleaner_->Pause(now_ns_);
  }
}

std::vector<Writeback::Moving> Writeback::TakeFromCleaner() {
  std::vector<Moving> moving;
  for (Cleaner::Object& object : cleaner_->Take(now_ns_)) {
    moving.push_back({object.page, object.id, 0, object.from, std::move(object.bytes), 0, {}});
  }
  return moving;
}

// Says of each its block, and puts them in that order. Neighbours come near each other: where they
// share a block, one read brings them back together.
void Writeback::Pack(std::vector<Moving>* moving) {
  std::sort(moving->begin(), moving->end(),
            [](const Moving& a, const Moving& b) { return a.page < b.page; });
  std::vector<uint32_t> lengths;
  lengths.reserve(moving->size());
  for (const Moving& each : *moving) lengths.push_back(each.from.length_bytes());
  const std::vector<uint32_t> blocks = PackBlocks(lengths);
  for (size_t i = 0; i < moving->size(); ++i) (*moving)[i].block = blocks[i];
  std::stable_sort(moving->begin(), moving->end(),
                   [](const Moving& a, const Moving& b) { return a.block < b.block; });
}

// Takes the last blocks of `moving` with it.
void Writeback::Fill(const DiskShare::Io& write, std::vector<Moving>* moving) {
  std::vector<Moving>& load = loads_[write.slot].moving;
  const uint32_t first = moving->back().block + 1 - write.blocks;
  for (uint32_t block = write.blocks; block-- > 0;) {
    BlockWriter writer(disk_->Block(write, block));
    for (; !moving->empty() && moving->back().block == first + block; moving->pop_back()) {
      Moving each = std::move(moving->back());
      const auto offset = writer.Add({each.page, each.id}, BytesOf(each));
      EBB_CHECK(offset.has_value(), "more objects packed into a block than it holds");
      each.to = {0, write.first_block + block, *offset};
      state_->BeginCopy(each.id);
      bytes_on_the_way_ += FromPool(each);
      load.push_back(std::move(each));
    }
  }
}

std::span<const std::byte> Writeback::BytesOf(const Moving& moving) const {
  if (moving.from.tier() == TierKind::kDisk) return moving.bytes;
  return state_->pool().Object(moving.from.pool_handle(), moving.from.length_bytes());
}

uint64_t Writeback::FromPool(const Moving& moving) {
  return moving.from.tier() == TierKind::kPool ? moving.from.length_bytes() : 0;
}

// It stays where it is.
void Writeback::Keep(const Moving& moving) {
  state_->EndCopy(moving.id);
  if (moving.from.tier() == TierKind::kDisk) return;
  state_->writeback_order().PutBack(moving.id, moving.generation);
}

// ---- Raw pages
// ------------------------------------------------------------------------------------

Writeback::RawResult Writeback::WriteRaw(const ClaimedPage& page, const std::byte* content,
                                         uint64_t reads_begun) {
  if (disk_ == nullptr || !disk_->tier().MayWrite(now_ns_)) return RawResult::kNoRoom;
  if (!open_raw_) open_raw_ = disk_->Begin(DiskShare::kMaxWriteBlocks, DiskShare::Purpose::kStore);
  if (!open_raw_) return disk_->is_full() ? RawResult::kNoRoom : RawResult::kBusy;
  std::vector<RawPage>& load = loads_[open_raw_->slot].raw;
  const auto index = static_cast<uint32_t>(load.size());
  std::memcpy(disk_->Block(*open_raw_, index).data(), content, kPageBytes);
  load.push_back({page,
                  PageChecksum(content, page.page, page.word.generation()),
                  reads_begun,
                  {0, open_raw_->first_block + index, 0}});
  if (load.size() == open_raw_->blocks) FlushRaw();
  return RawResult::kTaken;
}

void Writeback::FlushRaw() {
  if (!open_raw_) return;
  DiskShare::Io write = *std::exchange(open_raw_, std::nullopt);
  const auto filled = static_cast<uint32_t>(loads_[write.slot].raw.size());
  disk_->Shorten(&write, filled);
  if (filled > 0) {
    Start(write);
  } else {
    disk_->Cancel(write);
  }
}

void Writeback::TakeEnded(std::vector<StoredPage>* drop, std::vector<ClaimedPage>* give_back) {
  *drop = std::exchange(raw_stored_, {});
  *give_back = std::exchange(raw_refused_, {});
}

void Writeback::GiveUp(std::vector<ClaimedPage>* give_back) {
  for (Load& load : loads_) {
    for (const RawPage& raw : load.raw) give_back->push_back(raw.claim);
    load.raw.clear();
  }
  for (const StoredPage& stored : std::exchange(raw_stored_, {})) {
    state_->table().Retire(stored.id);
    give_back->push_back(stored.claim);
  }
  const std::vector<ClaimedPage> refused = std::exchange(raw_refused_, {});
  give_back->insert(give_back->end(), refused.begin(), refused.end());
}

// True when the page's block is needed.
bool Writeback::EndRaw(const RawPage& raw, bool ok) {
  if (IsTakenBack(raw.claim)) return false;
  std::optional<SwapId> id;
  // As in StorePages: the copy may be younger than a discard that is still to come.
  if (ok && state_->discard_order().Handled(raw.reads_begun)) {
    id = state_->table().Allocate(
        {SwapLocation::OnDisk(Codec::kRaw, kPageBytes, raw.to), raw.checksum});
  }
  if (!id) {
    raw_refused_.push_back(raw.claim);
    return false;
  }
  Count(state_->stats().disk_pages);
  Count(state_->stats().written_back);
  raw_stored_.push_back({raw.claim, *id});
  return true;
}

// ---- Writes
// ---------------------------------------------------------------------------------------

// False when the kernel does not take it: then it has failed.
bool Writeback::Start(const DiskShare::Io& write) {
  if (disk_->Start(write, now_ns_)) return true;
  End(write, false);
  return false;
}

void Writeback::End(const DiskShare::Io& write, bool ok) {
  EBB_TEST_POINT("writeback.ended", ok ? 1 : 0);
  const Load load = std::exchange(loads_[write.slot], {});
  std::vector<uint32_t> live_bytes(write.blocks);
  for (const RawPage& raw : load.raw) {
    if (EndRaw(raw, ok)) live_bytes[raw.to.block - write.first_block] = kPageBytes;
  }
  for (const Moving& each : load.moving) {
    if (ok) {
      live_bytes[each.to.block - write.first_block] +=
          DiskBlocks::LiveBytes(each.from.length_bytes());
    }
  }
  // Before anything there can be freed.
  for (uint32_t i = 0; i < write.blocks; ++i) disk_->Settle(write.first_block + i, live_bytes[i]);
  for (const Moving& each : load.moving) {
    bytes_on_the_way_ -= FromPool(each);
    if (!ok) {
      Keep(each);
      continue;
    }
    state_->EndCopy(each.id);
    const SwapLocation from = each.from;
    state_->MovedToDisk(each.id, from,
                        SwapLocation::OnDisk(from.codec(), from.length_bytes(), each.to));
  }
}

}  // namespace ebb
