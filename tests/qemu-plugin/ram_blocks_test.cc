// SPDX-License-Identifier: MIT
// Against the real /proc/self/maps of the test process.
#include "qemu-plugin/ram_blocks.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <list>

namespace ebb::plugin {
namespace {

constexpr size_t kPage = 4096;

// A memfd, its mappings, and the address space they lie in: 64 pages that belong to nobody else.
class Memory {
 public:
  Memory(const char* name, size_t pages) : fd_(memfd_create(name, MFD_CLOEXEC)) {
    EXPECT_EQ(ftruncate(fd_, static_cast<off_t>(pages * kPage)), 0);
    void* space = mmap(nullptr, 64 * kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    space_ = static_cast<char*>(space);
  }
  ~Memory() {
    munmap(space_, 64 * kPage);
    if (fd_ >= 0) close(fd_);
  }

  int fd() const { return fd_; }
  uint64_t Address(size_t page) const { return reinterpret_cast<uint64_t>(space_ + page * kPage); }
  uint64_t Inode() const {
    struct stat status;
    EXPECT_EQ(fstat(fd_, &status), 0);
    return status.st_ino;
  }
  void Map(size_t at_page, size_t file_page, size_t pages, int protection = PROT_READ | PROT_WRITE,
           int kind = MAP_SHARED) {
    void* mapped = mmap(space_ + at_page * kPage, pages * kPage, protection, kind | MAP_FIXED, fd_,
                        static_cast<off_t>(file_page * kPage));
    ASSERT_NE(mapped, MAP_FAILED);
  }
  void ReplaceFd(int fd) {
    close(fd_);
    fd_ = fd;
  }

 private:
  int fd_;
  char* space_;
};

constexpr char kRamName[] = "memory-backend-memfd";

TEST(RamBlocks, NoRamIsNone) {
  RamLayout layout;
  EXPECT_EQ(FindRam(layout), RamSearch::kNone);
  EXPECT_EQ(layout.block_count, 0u);
}

TEST(RamBlocks, DescribesOneMapping) {
  Memory ram(kRamName, 8);
  ram.Map(1, 2, 3);
  RamLayout layout;
  ASSERT_EQ(FindRam(layout), RamSearch::kFound);
  ASSERT_EQ(layout.block_count, 1u);
  ASSERT_EQ(layout.memfd_count, 1u);
  EXPECT_EQ(layout.blocks[0].hva, ram.Address(1));
  EXPECT_EQ(layout.blocks[0].bytes, 3 * kPage);
  EXPECT_EQ(layout.blocks[0].file_offset, 2 * kPage);
  EXPECT_EQ(layout.blocks[0].inode, ram.Inode());
  EXPECT_EQ(layout.blocks[0].page_bytes, kPage);
  EXPECT_EQ(layout.blocks[0].fd_index, 0u);
  EXPECT_EQ(layout.memfds[0], ram.fd());
}

TEST(RamBlocks, SeparateMappingsOfOneMemfdShareItsDescriptor) {
  Memory ram(kRamName, 8);
  ram.Map(1, 0, 4);
  ram.Map(20, 4, 4);
  RamLayout layout;
  ASSERT_EQ(FindRam(layout), RamSearch::kFound);
  ASSERT_EQ(layout.block_count, 2u);
  EXPECT_EQ(layout.memfd_count, 1u);
  EXPECT_EQ(layout.blocks[1].hva, ram.Address(20));
  EXPECT_EQ(layout.blocks[1].file_offset, 4 * kPage);
  EXPECT_EQ(layout.blocks[1].fd_index, 0u);
}

TEST(RamBlocks, ContiguousPiecesAreOneBlock) {
  Memory ram(kRamName, 8);
  ram.Map(1, 0, 8);
  // Splits the mapping in three without changing what is announced.
  ASSERT_EQ(madvise(reinterpret_cast<void*>(ram.Address(3)), 2 * kPage, MADV_DONTFORK), 0);
  RamLayout layout;
  ASSERT_EQ(FindRam(layout), RamSearch::kFound);
  ASSERT_EQ(layout.block_count, 1u);
  EXPECT_EQ(layout.blocks[0].hva, ram.Address(1));
  EXPECT_EQ(layout.blocks[0].bytes, 8 * kPage);
}

TEST(RamBlocks, NeighboursInMemoryButNotInTheFileAreTwoBlocks) {
  Memory ram(kRamName, 8);
  ram.Map(1, 4, 4);
  ram.Map(5, 0, 4);
  RamLayout layout;
  ASSERT_EQ(FindRam(layout), RamSearch::kFound);
  EXPECT_EQ(layout.block_count, 2u);
}

TEST(RamBlocks, TwoMemfdsAreToldApart) {
  Memory first(kRamName, 4), second(kRamName, 4);
  first.Map(1, 0, 4);
  second.Map(1, 0, 4);
  RamLayout layout;
  ASSERT_EQ(FindRam(layout), RamSearch::kFound);
  ASSERT_EQ(layout.block_count, 2u);
  ASSERT_EQ(layout.memfd_count, 2u);
  for (const wire::RamBlock* block = layout.blocks; block != layout.blocks + 2; ++block) {
    struct stat status;
    ASSERT_EQ(fstat(layout.memfds[block->fd_index], &status), 0);
    EXPECT_EQ(block->inode, status.st_ino);
  }
}

TEST(RamBlocks, OtherMappingsAreIgnored) {
  Memory other("something-else", 4), longer("memory-backend-memfd2", 4), ram(kRamName, 4);
  other.Map(1, 0, 4);
  longer.Map(1, 0, 4);
  ram.Map(1, 0, 1, PROT_READ);                             // not writable
  ram.Map(10, 0, 1, PROT_READ | PROT_WRITE, MAP_PRIVATE);  // not shared
  RamLayout layout;
  EXPECT_EQ(FindRam(layout), RamSearch::kNone);
}

TEST(RamBlocks, ReadOnlyDescriptorIsNotTaken) {
  Memory ram(kRamName, 4);
  ram.Map(1, 0, 4);
  std::string path = "/proc/self/fd/" + std::to_string(ram.fd());
  ram.ReplaceFd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  RamLayout layout;
  EXPECT_EQ(FindRam(layout), RamSearch::kNoDescriptor);
}

TEST(RamBlocks, SixteenBlocksFitAndNoMore) {
  std::list<Memory> parts;
  RamLayout layout;
  for (uint32_t i = 0; i < wire::kMaxRamBlocks; ++i) parts.emplace_back(kRamName, 1).Map(1, 0, 1);
  EXPECT_EQ(FindRam(layout), RamSearch::kFound);
  EXPECT_EQ(layout.block_count, wire::kMaxRamBlocks);
  parts.emplace_back(kRamName, 1).Map(1, 0, 1);
  EXPECT_EQ(FindRam(layout), RamSearch::kTooMany);
}

TEST(RamBlocks, SameBlocksNoticesGrowth) {
  Memory ram(kRamName, 8);
  RamLayout none, small, large;
  FindRam(none);
  ram.Map(1, 0, 4);
  FindRam(small);
  EXPECT_TRUE(SameBlocks(small, small));
  EXPECT_FALSE(SameBlocks(none, small));
  ram.Map(5, 4, 4);
  FindRam(large);
  EXPECT_FALSE(SameBlocks(small, large));
}

}  // namespace
}  // namespace ebb::plugin
