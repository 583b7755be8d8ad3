// SPDX-License-Identifier: MIT
#include "tests/synthetic/slow_device.h"

#include <pthread.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <thread>
#include <vector>

#include "hostd/base/units.h"

namespace ebb::synthetic {
namespace {

constexpr size_t kRequests = 8;        // at once, at most
constexpr size_t kMostRunPages = 240;  // of one request: well below a bio's 256 pages
constexpr std::chrono::milliseconds kLookForOrders(20);

// A signal that arrives while glibc frees the stack of a thread that has ended finds
// ThreadSanitizer's locks taken, and its thread waits for itself for ever. Threads that are created
// meanwhile get no signals either.
class NoSignals {
 public:
  NoSignals() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before_);
  }
  ~NoSignals() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  NoSignals(const NoSignals&) = delete;
  NoSignals& operator=(const NoSignals&) = delete;

 private:
  sigset_t before_;
};

}  // namespace

SlowDevice::SlowDevice(const Parts& parts, const Slices::Parts& slices_parts)
    : parts_(parts),
      slices_(slices_parts, kSlowDeviceOwner),
      mistakes_(slices_parts.mistakes),
      tail_(kRequests) {}

void SlowDevice::AskFor(uint64_t rounds, int64_t ns) {
  tail_.SetDelay(ns);
  MutexLock lock(mutex_);
  rounds_to_do_ = rounds;
  asked_.NotifyAll();
}

void SlowDevice::Fill() { slices_.Fill(); }

void SlowDevice::VerifyAll() {
  for (size_t i = 0; i < slices_.count(); ++i) {
    Begin("verification", slices_.page(i));
    slices_.Verify(i, "verification of a slow device's page");
  }
  Idle();
}

void SlowDevice::RunOne() {
  {
    MutexLock lock(mutex_);
    if (rounds_to_do_ == 0) asked_.WaitFor(mutex_, kLookForOrders);
  }
  if (rounds_to_do_ == 0) return;
  if (parts_.disk->valid()) RunRound();
  --rounds_to_do_;
}

void SlowDevice::RunRound() {
  const size_t count = std::min(kRequests, slices_.count());
  const size_t pages = count == 0 ? 0 : std::min(kMostRunPages, slices_.count() / count);
  std::array<size_t, kRequests> first;
  std::array<uint32_t, kRequests> sector;
  for (size_t i = 0; i < count; ++i) {
    if (next_ + pages > slices_.count()) next_ = 0;
    first[i] = next_;
    sector[i] = static_cast<uint32_t>((next_ + i) * kPageSectors) %
                (parts_.disk->sectors() / 2 / kPageSectors * kPageSectors);
    next_ += pages;
  }
  {
    const NoSignals no_signals;
    std::vector<std::thread> requests;
    for (size_t i = 0; i < count; ++i) {
      requests.emplace_back(
          [this, i, pages, &first, &sector] { ReadRun(first[i], pages, i, sector[i]); });
    }
    for (std::thread& request : requests) request.join();
  }
  for (size_t i = 0; i < count; ++i) ExpectRun(first[i], pages, sector[i]);
}

void SlowDevice::ReadRun(size_t first, size_t pages, size_t request, uint32_t first_sector) {
  std::vector<iovec> buffers;
  for (size_t i = first; i < first + pages; ++i) buffers.push_back({slices_.data(i), kPageBytes});
  buffers.push_back({tail_.page(request), kPageBytes});
  const InFlight::Request in_flight(parts_.in_flight);
  const ssize_t bytes = preadv(parts_.disk->fd(), buffers.data(), static_cast<int>(buffers.size()),
                               static_cast<off_t>(first_sector) * static_cast<off_t>(kSectorBytes));
  if (bytes != static_cast<ssize_t>(PagesToBytes(pages + 1))) {
    mistakes_->NoteFailed("slow direct read");
  }
  tail_.Rearm(request);
}

void SlowDevice::ExpectRun(size_t first, size_t pages, uint32_t first_sector) {
  for (size_t i = first; i < first + pages; ++i, first_sector += kPageSectors) {
    slices_.Expect(i, slices_.NextStamp(i, Stamp::Kind::kSectors, first_sector));
    Begin("load after a slow direct read", slices_.page(i));
    slices_.Verify(i, "load after a slow direct read");
  }
  Idle();
  pages_read_ += pages;
}

}  // namespace ebb::synthetic
