// SPDX-License-Identifier: MIT
#include "tests/synthetic/violation.h"

#include <fcntl.h>
#include <linux/io_uring.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

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

}  // namespace

bool Violate(const std::string& what, const std::string& path, GuestRam* ram) {
  if (what == "lock") return mlock(ram->at(kFirstPage), kBytes) == 0;
  if (what == "pin") return Pin(ram);
  if (what == "map-again") {
    return mmap(nullptr, kBytes, PROT_READ, MAP_SHARED, ram->memfd(),
                static_cast<off_t>(PagesToBytes(kFirstPage))) != MAP_FAILED;
  }
  if (what == "open") return open(path.c_str(), O_RDONLY | O_CLOEXEC) >= 0;
  return false;
}

}  // namespace ebb::synthetic
