// SPDX-License-Identifier: MIT
#include "hostd/swap/cleaner.h"

#include <algorithm>
#include <array>
#include <span>
#include <utility>

#include "hostd/base/test_points.h"
#include "hostd/base/units.h"
#include "hostd/swap/disk_object.h"

namespace ebb {
namespace {

// The disk counts as nearly full when less than one in so many segments is free.
constexpr uint64_t kFreeShare = 5;
// Blocks are read when half of them or more is empty.
constexpr uint32_t kSparseBytes = kDiskBlockBytes / 2;
// So many at once; with fewer than the second hardly any block is won.
constexpr uint32_t kBlocksTogether = 8;
constexpr uint32_t kLeastBlocks = 4;
// How long it looks for nothing when it has found nothing.
constexpr int64_t kPauseNs = kNsPerS;

}  // namespace

bool Cleaner::IsWorthIt() const {
  SegmentSpace& space = disk_->tier().space();
  if (space.free_segments() * kFreeShare >= space.segments()) return false;
  const DiskBlocks& blocks = disk_->blocks();
  return blocks.live_bytes() < PagesToBytes(blocks.used_blocks()) * 3 / 4;
}

void Cleaner::Run(int64_t now_ns) {
  if (reading_ > 0 || !objects_.empty() || now_ns < not_before_ns_ || !IsWorthIt()) return;
  blocks_read_ = 0;
  const std::vector<uint32_t> sparse = FindSparse();
  if (sparse.size() < kLeastBlocks) return Pause(now_ns);
  for (const uint32_t block : sparse) {
    if (!disk_->StartRead(block, now_ns)) break;
    ++reading_;
  }
}

void Cleaner::Pause(int64_t now_ns) { not_before_ns_ = now_ns + kPauseNs; }

std::vector<uint32_t> Cleaner::FindSparse() {
  std::vector<uint32_t> found;
  while (found.size() < kBlocksTogether) {
    const std::optional<uint32_t> block = disk_->NextSparse(kSparseBytes);
    // It goes round: the same one again is the end.
    if (!block || std::find(found.begin(), found.end(), *block) != found.end()) break;
    found.push_back(*block);
  }
  return found;
}

void Cleaner::EndRead(const DiskShare::Io& read, bool ok) {
  --reading_;
  if (!ok) return;
  const ConstDiskBlock block = disk_->Block(read, 0);
  std::array<BlockMember, kMaxBlockMembers> members;
  const size_t count = ReadMembers(block, members);
  const size_t before = objects_.size();
  for (const BlockMember& member : std::span(members).first(count)) {
    if (auto object = Verified(block, read.first_block, member)) {
      state_->BeginCopy(object->id);
      objects_.push_back(*std::move(object));
    }
  }
  if (objects_.size() > before) ++blocks_read_;
}

// None when it is not there any more, or the disk does not give back what was written.
std::optional<Cleaner::Object> Cleaner::Verified(ConstDiskBlock block, uint32_t number,
                                                 BlockMember member) {
  const std::optional<PageWord> word = SwappedMember(state_, member);
  if (!word || state_->IsBeingCopied(member.id)) return std::nullopt;
  const SwapDesc desc = state_->table().Load(member.id);
  const SwapLocation at = desc.location;
  if (at.tier() != TierKind::kDisk || at.disk_location().block != number) return std::nullopt;
  // A block of its own since it was asked for, whose content the guest has chosen.
  if (at.codec() == Codec::kRaw) return std::nullopt;
  std::array<std::byte, kPageBytes> content;
  if (!DecodeDiskObject(block, at, content.data()) ||
      PageChecksum(content.data(), member.page, word->generation()) != desc.checksum) {
    return std::nullopt;
  }
  const ConstDiskBlock::iterator bytes = block.begin() + at.disk_location().offset_bytes;
  return Object{member.page, member.id, at, {bytes, bytes + at.length_bytes()}};
}

std::vector<Cleaner::Object> Cleaner::Take(int64_t now_ns) {
  if (reading_ > 0 || objects_.empty()) return {};
  EBB_TEST_POINT("cleaner.read");
  if (blocks_read_ >= kLeastBlocks) return std::exchange(objects_, {});
  for (const Object& object : std::exchange(objects_, {})) state_->EndCopy(object.id);
  Pause(now_ns);
  return {};
}

}  // namespace ebb
