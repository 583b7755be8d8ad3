// SPDX-License-Identifier: MIT
// A block of the disk tier as a disk returns it, which can be anything; and then the same bytes as
// lengths of objects, two each, which are packed, written and found again.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "hostd/base/check.h"
#include "hostd/tiers/disk/block_format.h"
#include "hostd/tiers/disk/pack_blocks.h"

namespace ebb {
namespace {

using Input = std::span<const uint8_t>;

constexpr size_t kMaxObjects = 64;  // more take time, and show nothing else

// On the heap, so that the sanitizer sees who reads past them.
void ReadAnything(Input input) {
  std::vector<std::byte> block(kDiskBlockBytes);
  std::memcpy(block.data(), input.data(), std::min(input.size(), block.size()));
  for (const size_t room : {size_t{0}, size_t{1}, kMaxBlockMembers, size_t{300}}) {
    std::vector<BlockMember> members(room);
    const size_t count = ReadMembers(ConstDiskBlock(block.data(), kDiskBlockBytes), members);
    EBB_CHECK(count <= room, "more members than there is room for");
    EBB_CHECK(count <= kMaxBlockMembers, "more members than a block has");
    for (const BlockMember& member : members) EBB_CHECK(member.page.value <= UINT32_MAX, "page");
  }
}

std::vector<std::byte> ContentOf(size_t object, uint32_t bytes) {
  std::vector<std::byte> content(bytes);
  for (size_t i = 0; i < bytes; ++i) content[i] = static_cast<std::byte>(object * 31 + i);
  return content;
}

// The objects that belong into one block.
void WriteAndRead(const std::vector<uint32_t>& sizes, const std::vector<uint32_t>& objects) {
  std::vector<std::byte> block(kDiskBlockBytes);
  BlockWriter writer(DiskBlock(block.data(), kDiskBlockBytes));
  std::vector<uint16_t> places;
  for (const uint32_t object : objects) {
    const auto place = writer.Add({{object}, {object + 1}}, ContentOf(object, sizes[object]));
    EBB_CHECK(place, "what was packed into a block has no room there");
    EBB_CHECK(*place % kDiskGrainBytes == 0, "a place that no record can name");
    places.push_back(*place);
  }
  std::vector<BlockMember> members(objects.size());
  EBB_CHECK(ReadMembers(ConstDiskBlock(block.data(), kDiskBlockBytes), members) == objects.size(),
            "another number of members");
  for (size_t i = 0; i < objects.size(); ++i) {
    const uint32_t object = objects[i];
    EBB_CHECK(members[i].page.value == object && members[i].id.value == object + 1, "the member");
    EBB_CHECK(places[i] + sizes[object] <= kDiskBlockBytes, "an object past the block");
    const std::vector<std::byte> content = ContentOf(object, sizes[object]);
    EBB_CHECK(std::memcmp(&block[places[i]], content.data(), content.size()) == 0, "the object");
  }
}

void PackAnything(Input input) {
  std::vector<uint32_t> sizes;
  for (size_t at = 0; at + 2 <= input.size() && sizes.size() < kMaxObjects; at += 2) {
    sizes.push_back(1 + (input[at] | input[at + 1] << 8) % BlockWriter::kMaxObjectBytes);
  }
  const std::vector<uint32_t> block_of = PackBlocks(sizes);
  std::vector<std::vector<uint32_t>> objects_in(sizes.size());
  for (uint32_t object = 0; object < sizes.size(); ++object) {
    EBB_CHECK(block_of[object] < sizes.size(), "more blocks than objects");
    objects_in[block_of[object]].push_back(object);
  }
  for (const std::vector<uint32_t>& objects : objects_in) WriteAndRead(sizes, objects);
}

}  // namespace
}  // namespace ebb

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t bytes);
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t bytes) {
  if (bytes == 0) return 0;
  ebb::ReadAnything({data, bytes});
  ebb::PackAnything({data, bytes});
  return 0;
}
