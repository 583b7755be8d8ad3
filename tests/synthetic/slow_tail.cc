// SPDX-License-Identifier: MIT
#include "tests/synthetic/slow_tail.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>

#include "hostd/base/clock.h"
#include "hostd/base/units.h"
#include "tests/synthetic/die.h"

namespace ebb::synthetic {

SlowTail::SlowTail(size_t pages)
    : pages_(pages),
      userfaultfd_(static_cast<int>(syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK))) {
  void* base = mmap(nullptr, PagesToBytes(pages_), PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (base == MAP_FAILED) Die("mapping the slow pages");
  base_ = static_cast<std::byte*>(base);
  uffdio_api api = {};
  api.api = UFFD_API;
  uffdio_register range = {};
  range.range = {reinterpret_cast<uint64_t>(base_), PagesToBytes(pages_)};
  range.mode = UFFDIO_REGISTER_MODE_MISSING;
  if (!userfaultfd_.valid() || ioctl(userfaultfd_.get(), UFFDIO_API, &api) != 0 ||
      ioctl(userfaultfd_.get(), UFFDIO_REGISTER, &range) != 0) {
    Die("registering the slow pages");
  }
  thread_ = std::thread([this] { Run(); });
  thread_.detach();  // it ends with the process
}

void SlowTail::SetDelay(int64_t ns) {
  MutexLock lock(mutex_);
  delay_ns_ = ns;
}

void* SlowTail::page(size_t index) const { return base_ + PagesToBytes(index); }

void SlowTail::Rearm(size_t index) { madvise(page(index), kPageBytes, MADV_DONTNEED); }

void SlowTail::Run() {
  for (;;) {
    pollfd wait = {userfaultfd_.get(), POLLIN, 0};
    poll(&wait, 1, UntilNextMs());
    ReadTouches();
    ServeDue();
  }
}

void SlowTail::ReadTouches() {
  uffd_msg message;
  while (read(userfaultfd_.get(), &message, sizeof message) == sizeof message) {
    if (message.event != UFFD_EVENT_PAGEFAULT) continue;
    const uint64_t address = message.arg.pagefault.address & ~(kPageBytes - 1);
    // A signal makes a thread say it twice.
    if (std::any_of(touches_.begin(), touches_.end(),
                    [&](const Touch& touch) { return touch.address == address; })) {
      continue;
    }
    MutexLock lock(mutex_);
    touches_.push_back({address, MonotonicNs() + delay_ns_});
  }
}

void SlowTail::ServeDue() {
  while (!touches_.empty() && touches_.front().due_ns <= MonotonicNs()) {
    uffdio_zeropage arg = {};
    arg.range = {touches_.front().address, kPageBytes};
    if (ioctl(userfaultfd_.get(), UFFDIO_ZEROPAGE, &arg) != 0) {
      uffdio_range range = arg.range;
      ioctl(userfaultfd_.get(), UFFDIO_WAKE, &range);
    }
    touches_.pop_front();
  }
}

int SlowTail::UntilNextMs() {
  if (touches_.empty()) return -1;
  const int64_t left_ns = touches_.front().due_ns - MonotonicNs();
  return static_cast<int>(std::max<int64_t>(0, left_ns / kNsPerMs + 1));
}

}  // namespace ebb::synthetic
