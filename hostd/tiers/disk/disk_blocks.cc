// SPDX-License-Identifier: MIT
#include "hostd/tiers/disk/disk_blocks.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "hostd/base/check.h"
#include "hostd/tiers/disk/block_format.h"

namespace ebb {
namespace {

// Of a page that is a block of its own: one less than it has, so that the number fits into a byte.
constexpr uint32_t kMaxGrains = UINT8_MAX;
static_assert(BlockWriter::kMaxObjectBytes / kDiskGrainBytes < kMaxGrains);

}  // namespace

DiskBlocks::~DiskBlocks() {
  EBB_CHECK(being_written_ == 0, "giving blocks back that are being written");
  space_->GiveBack(ReleaseAll());
}

// ---- Blocks
// ---------------------------------------------------------------------------------------

uint8_t DiskBlocks::Grains(uint32_t live_bytes) {
  EBB_CHECK(live_bytes <= BlockWriter::kMaxObjectBytes || live_bytes == kDiskBlockBytes,
            "more live bytes than a block has");
  EBB_CHECK(live_bytes % kDiskGrainBytes == 0, "live bytes that are no sum of LiveBytes()");
  return static_cast<uint8_t>(std::min(live_bytes / kDiskGrainBytes, kMaxGrains));
}

bool DiskBlocks::IsTaken(const Segment& segment, uint32_t block) {
  return (segment.taken[block / kWordBits] >> block % kWordBits & 1) != 0;
}

DiskBlocks::Place DiskBlocks::Find(uint32_t block) const {
  const auto found = by_number_.find(block / kSegmentBlocks);
  EBB_CHECK(found != by_number_.end(), "a block of a segment of somebody else");
  return {found->second, block % kSegmentBlocks};
}

// The first run that is long enough, or the longest.
DiskBlocks::Run DiskBlocks::BestRun(const Segment& segment, uint32_t max_blocks) {
  Run best;
  uint32_t begin = 0;
  while (begin < kSegmentBlocks && best.count < max_blocks) {
    const uint64_t free = ~segment.taken[begin / kWordBits] >> begin % kWordBits;
    if (free == 0) {
      begin = (begin / kWordBits + 1) * kWordBits;
      continue;
    }
    begin += static_cast<uint32_t>(std::countr_zero(free));
    uint32_t end = begin + 1;
    while (end < kSegmentBlocks && end - begin < max_blocks && !IsTaken(segment, end)) ++end;
    if (end - begin > best.count) best = {begin, end - begin};
    begin = end;
  }
  return best;
}

std::optional<DiskBlocks::Run> DiskBlocks::Allocate(uint32_t max_blocks) {
  EBB_CHECK(max_blocks > 0, "a run of no blocks");
  Segment* const segment = Choose();
  if (segment == nullptr) return std::nullopt;
  current_ = segment;
  const Run run = BestRun(*segment, max_blocks);
  EBB_CHECK(run.count > 0, "a segment without the free blocks it is said to have");
  for (uint32_t block = run.first_block; block < run.first_block + run.count; ++block) {
    segment->taken[block / kWordBits] |= uint64_t{1} << block % kWordBits;
  }
  SetFree(segment, segment->free - run.count);
  used_blocks_ += run.count;
  being_written_ += run.count;
  return Run{segment->number * kSegmentBlocks + run.first_block, run.count};
}

void DiskBlocks::Settle(uint32_t block, uint32_t live_bytes) {
  const Place place = Find(block);
  EBB_CHECK(place.block != 0 && IsTaken(*place.segment, place.block) &&
                place.segment->live[place.block] == 0,
            "settling a block that is not being written");
  place.segment->live[place.block] = Grains(live_bytes);
  live_bytes_ += live_bytes;
  --being_written_;
  if (live_bytes == 0) GiveBlock(place);
}

void DiskBlocks::Free(DiskLocation at, uint32_t object_bytes) {
  const Place place = Find(at.block);
  EBB_CHECK(object_bytes > 0 && object_bytes <= kDiskBlockBytes,
            "freeing an object of an impossible size");
  const uint8_t grains = Grains(LiveBytes(object_bytes));
  uint8_t& live = place.segment->live[place.block];
  // Nothing is live in a block that is free or being written.
  EBB_CHECK(grains <= live, "freeing more of a block than is live");
  EBB_CHECK(grains == live || live < kMaxGrains, "freeing a part of a page that is a block");
  live = static_cast<uint8_t>(live - grains);
  live_bytes_ -= LiveBytes(object_bytes);
  if (live == 0) GiveBlock(place);
}

void DiskBlocks::GiveBlock(Place place) {
  Segment* const segment = place.segment;
  segment->taken[place.block / kWordBits] &= ~(uint64_t{1} << place.block % kWordBits);
  --used_blocks_;
  // One empty segment is kept, so that who is at the edge of one does not give it back and take it
  // again.
  if (segment->free + 1 == kUsableBlocks && by_free_[kUsableBlocks] != nullptr) {
    GiveSegment(segment);
  } else {
    SetFree(segment, segment->free + 1);
  }
}

// ---- Segments
// -------------------------------------------------------------------------------------

DiskBlocks::Segment* DiskBlocks::Choose() {
  if (current_ != nullptr && current_->free > 0) return current_;
  Segment* const most_free = MostFree();
  if (most_free != nullptr && most_free->free >= kWorthFree) return most_free;
  Segment* const fresh = TakeSegment();
  return fresh != nullptr ? fresh : most_free;
}

// None when not one has a free block.
DiskBlocks::Segment* DiskBlocks::MostFree() const {
  for (size_t word = some_.size(); word-- > 0;) {
    if (some_[word] == 0) continue;
    const auto bit = static_cast<uint32_t>(std::bit_width(some_[word]) - 1);
    const size_t free = word * kWordBits + bit;
    return free > 0 ? by_free_[free] : nullptr;
  }
  return nullptr;
}

DiskBlocks::Segment* DiskBlocks::TakeSegment() {
  const std::optional<uint32_t> number = space_->Take();
  if (!number) return nullptr;
  segments_.push_back(std::make_unique<Segment>());
  Segment* const segment = segments_.back().get();
  segment->number = *number;
  segment->slot = static_cast<uint32_t>(segments_.size() - 1);
  by_number_.emplace(*number, segment);
  Link(segment);
  return segment;
}

void DiskBlocks::GiveSegment(Segment* segment) {
  Unlink(segment);
  if (current_ == segment) current_ = nullptr;
  const uint32_t number = segment->number;
  by_number_.erase(number);
  const uint32_t slot = segment->slot;
  segments_.back()->slot = slot;
  std::swap(segments_[slot], segments_.back());
  segments_.pop_back();
  space_->GiveBack({&number, 1});
}

std::vector<uint32_t> DiskBlocks::ReleaseAll() {
  std::vector<uint32_t> numbers;
  numbers.reserve(segments_.size());
  for (const std::unique_ptr<Segment>& segment : segments_) numbers.push_back(segment->number);
  segments_.clear();
  by_number_.clear();
  by_free_.fill(nullptr);
  some_.fill(0);
  current_ = nullptr;
  used_blocks_ = being_written_ = live_bytes_ = 0;
  return numbers;
}

void DiskBlocks::SetFree(Segment* segment, uint32_t free) {
  Unlink(segment);
  segment->free = free;
  Link(segment);
}

void DiskBlocks::Link(Segment* segment) {
  Segment*& head = by_free_[segment->free];
  segment->previous = nullptr;
  segment->next = head;
  if (head != nullptr) head->previous = segment;
  head = segment;
  some_[segment->free / kWordBits] |= uint64_t{1} << segment->free % kWordBits;
}

void DiskBlocks::Unlink(Segment* segment) {
  Segment*& head = by_free_[segment->free];
  if (segment->next != nullptr) segment->next->previous = segment->previous;
  if (segment->previous != nullptr) {
    segment->previous->next = segment->next;
  } else {
    head = segment->next;
  }
  if (head == nullptr)
    some_[segment->free / kWordBits] &= ~(uint64_t{1} << segment->free % kWordBits);
}

// ---- What it costs, and what could be better
// ------------------------------------------------------

uint64_t DiskBlocks::bookkeeping_bytes() const {
  // Of a hash table's node: the link to the next one besides what it holds.
  constexpr uint64_t kNodeBytes = sizeof(void*) + sizeof(decltype(by_number_)::value_type);
  return sizeof *this + segments_.size() * (sizeof(Segment) + kNodeBytes) +
         segments_.capacity() * sizeof segments_[0] + by_number_.bucket_count() * sizeof(void*);
}

std::optional<uint32_t> DiskBlocks::NextSparse(uint32_t max_live_bytes) {
  const uint32_t most = std::min(max_live_bytes / kDiskGrainBytes, kMaxGrains);
  // The segment it begins in is looked at twice: from where it goes on, and up to there.
  for (size_t looked = 0; looked <= segments_.size() && !segments_.empty(); ++looked) {
    if (sparse_slot_ >= segments_.size()) sparse_slot_ = sparse_block_ = 0;
    const Segment& segment = *segments_[sparse_slot_];
    for (uint32_t block = sparse_block_; block < kSegmentBlocks; ++block) {
      if (segment.live[block] == 0 || segment.live[block] > most) continue;
      sparse_block_ = block + 1;
      return segment.number * kSegmentBlocks + block;
    }
    ++sparse_slot_;
    sparse_block_ = 0;
  }
  return std::nullopt;
}

}  // namespace ebb
