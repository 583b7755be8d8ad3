// SPDX-License-Identifier: MIT
// Every way to allocate or free is seen where a thread must not.
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/hostd/base/on_fault_path.h"

namespace ebb {
namespace {

void* volatile kept;  // so that no allocation is optimized away

TEST(MallocChecks, MemoryIsWhatItWas) {
  std::unique_ptr<char[], decltype(&std::free)> memory(static_cast<char*>(std::calloc(10, 100)),
                                                       &std::free);
  ASSERT_NE(memory, nullptr);
  EXPECT_EQ(memory[999], 0);
  void* aligned = nullptr;
  ASSERT_EQ(posix_memalign(&aligned, 4096, 8192), 0);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(aligned) % 4096, 0u);
  std::memset(aligned, 1, 8192);
  std::free(aligned);
  std::string text(1 << 20, 'x');
  text += text;
  EXPECT_EQ(text.size(), size_t{2} << 20);
}

TEST(MallocChecks, FreeingNothingIsFine) {
  OnFaultPath([] { std::free(nullptr); });
}

TEST(MallocChecks, OtherThreadsMayAllocateMeanwhile) {
  const auto allocate = [] { std::vector<int>(1000).swap(*std::make_unique<std::vector<int>>()); };
  std::jthread other;
  {
    NoteOwned("Dropping");
    const AnotherThreadsWork starts_a_thread;
    other = std::jthread(allocate);
  }
  NoteLeft();
}

TEST(MallocChecksDeathTest, AllocatingOnTheFaultPathIsTheEnd) {
  EXPECT_DEATH(OnFaultPath([] { kept = std::malloc(1); }), "calls malloc on the fault path");
  EXPECT_DEATH(OnFaultPath([] { kept = std::calloc(1, 1); }), "calls calloc on the fault path");
  EXPECT_DEATH(OnFaultPath([] { kept = std::realloc(kept, 64); }),
               "calls realloc on the fault path");
  EXPECT_DEATH(OnFaultPath([] { kept = std::aligned_alloc(64, 64); }),
               "calls aligned_alloc on the fault path");
  EXPECT_DEATH(OnFaultPath([] {
                 void* memory = nullptr;
                 if (posix_memalign(&memory, 64, 64) == 0) kept = memory;
               }),
               "calls posix_memalign on the fault path");
  // style-ok(new): this is the call that is looked for
  EXPECT_DEATH(OnFaultPath([] { kept = new int; }), "calls malloc on the fault path");
}

TEST(MallocChecksDeathTest, AllocatingAsAnOwnerIsTheEnd) {
  EXPECT_DEATH(
      {
        NoteOwned("Fixing");
        kept = std::malloc(1);
      },
      "calls malloc while it owns 1 pages, the last in Fixing");
}

TEST(MallocChecksDeathTest, FreeingOnTheFaultPathIsTheEnd) {
  kept = std::malloc(1);
  EXPECT_DEATH(OnFaultPath([] { std::free(kept); }), "calls free on the fault path");
  std::free(kept);
}

}  // namespace
}  // namespace ebb
