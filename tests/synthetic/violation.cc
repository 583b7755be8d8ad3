// SPDX-License-Identifier: MIT
#include "tests/synthetic/violation.h"

#include <fcntl.h>
#include <linux/io_uring.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cinttypes>
#include <cstdio>
#include <thread>
#include <vector>

#include "hostd/base/units.h"

namespace ebb::synthetic {
namespace {

constexpr uint64_t kFirstPage = 1000;
constexpr uint64_t kBytes = 64 * kPageBytes;

bool Pin(GuestRam* ram) {
  io_uring_params params = {};
  const auto ring = static_cast<int>(syscall(SYS_io_uring_setup, 4, &params));
  const iovec buffer = {ram->at(kFirstPage), kBytes};
  return syscall(SYS_io_uring_register, ring, IORING_REGISTER_BUFFERS, &buffer, 1) == 0;
}

// Pages one by one, and all of them at once.
bool DiscardAll(GuestRam* ram) {
  constexpr auto kDuration = std::chrono::seconds(3);
  constexpr int kThreads = 4;
  const auto end = std::chrono::steady_clock::now() + kDuration;
  std::atomic<uint64_t> discards{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      const uint64_t pages = i == 0 ? ram->pages() : 1;
      for (uint64_t n = 0; std::chrono::steady_clock::now() < end; ++n) {
        const uint64_t first = n % (ram->pages() - pages + 1);
        if (madvise(ram->at(first), PagesToBytes(pages), MADV_DONTNEED) == 0) ++discards;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::fprintf(stderr, "%" PRIu64 " discards\n", discards.load());
  return discards > 0;
}

}  // namespace

bool Violate(const std::string& what, const std::string& path, GuestRam* ram) {
  if (what == "lock") return mlock(ram->at(kFirstPage), kBytes) == 0;
  if (what == "pin") return Pin(ram);
  if (what == "map-again") {
    return mmap(nullptr, kBytes, PROT_READ, MAP_SHARED, ram->memfd(),
                static_cast<off_t>(PagesToBytes(kFirstPage))) != MAP_FAILED;
  }
  if (what == "discard") return DiscardAll(ram);
  if (what == "open") return open(path.c_str(), O_RDONLY | O_CLOEXEC) >= 0;
  return false;
}

}  // namespace ebb::synthetic
