// SPDX-License-Identifier: MIT
#include "tests/hammer/guest_process.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <memory>
#include <thread>
#include <utility>

#include "hostd/base/clock.h"
#include "hostd/os/thread.h"
#include "hostd/os/unix_socket.h"
#include "tests/synthetic/crew.h"
#include "tests/synthetic/die.h"
#include "tests/synthetic/signal_storm.h"
#include "tests/synthetic/slow_device.h"

#ifndef USERFAULTFD_IOC_NEW
#define USERFAULTFD_IOC_NEW _IO(0xAA, 0x00)  // linux/userfaultfd.h of 6.1
#endif

namespace ebb::hammer {
namespace {

using synthetic::Crew;
using synthetic::Die;

constexpr size_t kDiskBytes = 4 * kMiB;
// The slow device gets a round of requests so often, and each takes up to so long: much longer than
// a page needs to look cold here.
constexpr int64_t kSlowEveryNs = 60 * kNsPerMs;
constexpr int64_t kMostSlowNs = 6 * kNsPerMs;
// With few pages the threads work for up to so long, and rest for up to so long: of pages that are
// touched all the time none looks cold, and after a rest all threads come at once.
constexpr uint64_t kMostWorkMs = 6;
constexpr uint64_t kMostRestMs = 8;
// Of what is written, where there is a disk for what does not compress.
constexpr uint64_t kRandomPercent = 15;

class GuestProcess {
 public:
  GuestProcess(const GuestOptions& options, synthetic::Vcpu::Counts* counts, UniqueFd orders,
               UniqueFd barriers)
      : options_(options),
        counts_(counts),
        orders_(std::move(orders)),
        barriers_(std::move(barriers)),
        ram_(PagesToBytes(options.pages)),
        content_(options.seed),
        disk_(synthetic::DirectFile::Create(options.disk_folders, kDiskBytes)),
        random_(options.seed) {
    if (!disk_.valid()) Die("no folder takes direct I/O");
    disk_.WriteSectors(content_);
  }

  void HandOver() {
    const UniqueFd device(open("/dev/userfaultfd", O_RDWR | O_CLOEXEC));
    const UniqueFd userfaultfd(ioctl(device.get(), USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK));
    if (!userfaultfd.valid()) Die("making a userfaultfd");
    const GuestHello hello = {{reinterpret_cast<uint64_t>(ram_.at(0))}};
    const std::array<int, 2> fds = {userfaultfd.get(), ram_.memfd()};
    if (!SendPacket(orders_.get(), std::as_bytes(std::span(&hello, 1)), fds).ok()) {
      Die("handing over");
    }
  }

  // The threads start with filling their memory.
  void StartThreads() {
    std::thread([this] { AnswerBarriers(); }).detach();
    crew_ = std::make_unique<Crew>(MakeWorkers());
    if (options_.signals) synthetic::StartSignalStorm(crew_.get());
  }

  // This thread never touches guest memory, so that it always answers.
  void ObeyOrders() {
    const auto slowness = static_cast<uint64_t>(options_.slowness);
    pollfd wait = {orders_.get(), POLLIN, 0};
    for (;;) {
      const uint64_t most_ms = (resting_ ? kMostRestMs : kMostWorkMs) * slowness;
      if (poll(&wait, 1, static_cast<int>(random_.Below(most_ms + 1))) == 1 && !ObeyOne()) return;
      if (!hammering_) continue;
      resting_ = !resting_ && options_.pages < kFewPages;
      crew_->Give(resting_ ? Crew::Order::kPause : Crew::Order::kHammer);
      if (slow_device_->rounds_to_do() == 0 && MonotonicNs() > next_slow_ns_) {
        next_slow_ns_ = MonotonicNs() + kSlowEveryNs * options_.slowness;
        slow_device_->AskFor(1, static_cast<int64_t>(random_.Below(kMostSlowNs)));
      }
    }
  }

 private:
  std::vector<std::unique_ptr<synthetic::Worker>> MakeWorkers() {
    std::vector<std::unique_ptr<synthetic::Worker>> workers;
    const synthetic::Vcpu::Parts parts = {
        .ram = &ram_,
        .content = &content_,
        .mistakes = &mistakes_,
        .in_flight = &in_flight_,
        .punch_front = nullptr,
        .disk = &disk_,
        .disk_folders = options_.disk_folders,
        .seed = options_.seed,
        .random_percent = options_.both_tiers ? kRandomPercent : 0};
    for (uint32_t i = 0; i < synthetic::kVcpus; ++i) {
      workers.push_back(std::make_unique<synthetic::Vcpu>(parts, i, counts_));
    }
    auto slow_device = std::make_unique<synthetic::SlowDevice>(
        synthetic::SlowDevice::Parts{&in_flight_, &disk_},
        synthetic::Slices::Parts{&ram_, &content_, &mistakes_});
    slow_device_ = slow_device.get();
    workers.push_back(std::move(slow_device));
    return workers;
  }

  bool ObeyOne() {
    Guest::Order order;
    if (read(orders_.get(), &order, sizeof order) != sizeof order) return false;
    if (order == Guest::Order::kHammer) hammering_ = true;
    if (order == Guest::Order::kVerify) {
      hammering_ = false;
      crew_->Give(Crew::Order::kVerify);
    }
    const GuestReport report = Report();
    return write(orders_.get(), &report, sizeof report) == sizeof report;
  }

  GuestReport Report() {
    GuestReport report = {};
    report.wrong = mistakes_.wrong();
    report.failed = mistakes_.failed();
    report.barriers_that_waited = in_flight_.drains_that_waited();
    report.slow_pages = slow_device_->pages_read();
    report.longest_ns = crew_->LongestNs();
    report.done = crew_->AwaitDone(0);
    const std::vector<Crew::Stuck> stuck = crew_->StuckFor(Guest::kStuckNs * options_.slowness);
    report.stuck = stuck.size();
    if (!stuck.empty()) {
      report.stuck_page = stuck.front().page;
      stuck.front().what.copy(report.stuck_in.data(), report.stuck_in.size() - 1);
    }
    return report;
  }

  void AnswerBarriers() {
    EnterThreadRole("barriers", ThreadRole::kFault);
    for (char byte; read(barriers_.get(), &byte, 1) == 1;) {
      in_flight_.Drain();
      if (write(barriers_.get(), &byte, 1) != 1) return;
    }
  }

  const GuestOptions options_;
  synthetic::Vcpu::Counts* const counts_;
  const UniqueFd orders_;
  const UniqueFd barriers_;
  synthetic::GuestRam ram_;
  const synthetic::Content content_;
  synthetic::Mistakes mistakes_;
  synthetic::InFlight in_flight_;
  synthetic::DirectFile disk_;
  synthetic::SlowDevice* slow_device_ = nullptr;  // owned by crew_
  std::unique_ptr<Crew> crew_;
  synthetic::Random random_;
  bool hammering_ = false;
  bool resting_ = true;
  int64_t next_slow_ns_ = 0;
};

}  // namespace

void RunGuestProcess(const GuestOptions& options, synthetic::Vcpu::Counts* counts, UniqueFd orders,
                     UniqueFd barriers) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  // The other process may be gone: then a write fails.
  std::signal(SIGPIPE, SIG_IGN);
  GuestProcess guest(options, counts, std::move(orders), std::move(barriers));
  guest.HandOver();
  guest.StartThreads();
  guest.ObeyOrders();
  // Not by way of destructors: threads are in the middle of things.
  _exit(0);
}

}  // namespace ebb::hammer
