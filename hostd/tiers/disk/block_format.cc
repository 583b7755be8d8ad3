// SPDX-License-Identifier: MIT
#include "hostd/tiers/disk/block_format.h"

#include <algorithm>
#include <cstring>

#include "hostd/base/check.h"

namespace ebb {
namespace {

constexpr uint32_t kBlockMagic = 0x4b426245;  // "EbBK"
constexpr uint8_t kBlockVersion = 1;
constexpr size_t kVersionAt = 4;
constexpr size_t kMembersAt = 5;

static_assert(kMaxBlockMembers <= UINT8_MAX, "the number of members is one byte");
static_assert(kMaxBlockMembers == 169, "docs/formats/disk.md says so");

void PutU32(DiskBlock block, size_t at, uint32_t value) {
  for (size_t i = 0; i < sizeof value; ++i) {
    block[at + i] = static_cast<std::byte>(value >> (8 * i));
  }
}

uint32_t GetU32(ConstDiskBlock block, size_t at) {
  uint32_t value = 0;
  for (size_t i = 0; i < sizeof value; ++i) {
    value |= static_cast<uint32_t>(block[at + i]) << (8 * i);
  }
  return value;
}

size_t MemberAt(size_t member) {
  return BlockWriter::kHeaderBytes + member * BlockWriter::kMemberBytes;
}

}  // namespace

// Cleared whole: bytes between objects must not tell a disk what ebbd's memory held before.
BlockWriter::BlockWriter(DiskBlock block) : block_(block) {
  std::memset(block_.data(), 0, block_.size());
  PutU32(block_, 0, kBlockMagic);
  block_[kVersionAt] = std::byte{kBlockVersion};
}

std::optional<uint16_t> BlockWriter::Add(BlockMember member, std::span<const std::byte> object) {
  EBB_CHECK(!object.empty(), "an object without bytes");
  // Before Needs, which a huge size would make overflow.
  if (object.size() > kMaxObjectBytes) return std::nullopt;
  const uint32_t needs = Needs(static_cast<uint32_t>(object.size()));
  if (MemberAt(members_) + needs > objects_begin_) return std::nullopt;
  objects_begin_ -= needs - kMemberBytes;
  std::memcpy(block_.data() + objects_begin_, object.data(), object.size());
  // The number of a page past 16 TiB is cut off: it is a hint.
  PutU32(block_, MemberAt(members_), static_cast<uint32_t>(member.page.value));
  PutU32(block_, MemberAt(members_) + sizeof(uint32_t), member.id.value);
  block_[kMembersAt] = static_cast<std::byte>(++members_);
  return static_cast<uint16_t>(objects_begin_);
}

size_t ReadMembers(ConstDiskBlock block, std::span<BlockMember> members) {
  if (GetU32(block, 0) != kBlockMagic) return 0;
  if (block[kVersionAt] != std::byte{kBlockVersion}) return 0;
  const auto said = static_cast<size_t>(block[kMembersAt]);
  if (said > kMaxBlockMembers) return 0;
  const size_t count = std::min(said, members.size());
  for (size_t i = 0; i < count; ++i) {
    members[i].page = {GetU32(block, MemberAt(i))};
    members[i].id = {GetU32(block, MemberAt(i) + sizeof(uint32_t))};
  }
  return count;
}

}  // namespace ebb
