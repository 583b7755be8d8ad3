// SPDX-License-Identifier: MIT
// Hammers ebbd's own page protocol on the real userfaultfd, in a hurry: a guest process works on
// few pages and checks every byte, this process swaps them out and in. No QEMU, no ebbd around it;
// tests/synthetic has those.
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "hostd/base/clock.h"
#include "tests/hammer/cpus.h"
#include "tests/hammer/delays.h"
#include "tests/hammer/guest.h"
#include "tests/hammer/options.h"
#include "tests/hammer/page_protocol.h"

namespace ebb::hammer {
namespace {

constexpr int64_t kLookNs = kNsPerS / 4;
constexpr int64_t kProgressNs = 5 * kNsPerS;
constexpr int64_t kFinishNs = 60 * kNsPerS;
// Swap-outs and swap-ins to so many operations, takings back before the drop, and pages from the
// disk if there is one: fewer, and this was no test.
constexpr uint64_t kOperationsPerSwap = 2000;
constexpr uint64_t kOperationsPerGivenBack = 20000;
constexpr uint64_t kOperationsPerDiskPage = 10000;

class Hammer {
 public:
  Hammer(const Options& options, Guest* guest, PageProtocol* protocol)
      : options_(options), guest_(guest), protocol_(protocol), began_ns_(MonotonicNs()) {}

  bool Run() {
    const bool passed = Await(
                            Guest::Order::kReport, [&] { return report_.done; }, "the fill") &&
                        Await(
                            Guest::Order::kHammer, [&] { return Enough(); }, "the hammering") &&
                        BringBackAndVerify();
    PrintCounts();
    if (options_.guest.both_tiers) std::fputs(DiskSummary().c_str(), stdout);
    std::printf("hammer, %lu pages%s: %s: %s\n", options_.guest.pages,
                options_.guest.both_tiers ? ", both tiers" : "", Summary().c_str(),
                passed ? "passed" : "FAILED");
    return passed;
  }

 private:
  double Seconds() const { return static_cast<double>(MonotonicNs() - began_ns_) / kNsPerS; }

  std::string Summary() const {
    const SwapStats& stats = protocol_->stats();
    return absl::StrFormat(
        "seed %d, %d operations in %.1f s, %d pages out, %d in, %d given back, %d discarded, "
        "%d faults, %d barriers (%d waited), %d wrong, %d hung",
        options_.guest.seed, guest_->operations(), Seconds(), stats.swapped_out.load(),
        stats.swapped_in.load(), stats.given_back.load(), stats.discarded.load(),
        stats.faults.load(), protocol_->barriers(), report_.barriers_that_waited, report_.wrong,
        report_.stuck);
  }

  std::string DiskSummary() const {
    const WatchedDisk::Counts& disk = protocol_->disk_counts();
    return absl::StrFormat(
        "  disk: %d blocks written (%d of raw pages), %d read (%d of raw pages), %d pages from the "
        "disk; %d writes and %d reads failed\n",
        disk.blocks_written.load(), disk.raw_written.load(), disk.blocks_read.load(),
        disk.raw_read.load(), PagesFromDisk(), disk.failed_writes.load(), disk.failed_reads.load());
  }

  // Chasing is for larger guests.
  bool EveryKindWasDone() const {
    const auto& counts = guest_->by_operation();
    return std::all_of(counts.begin(), counts.end() - 1,
                       [](const auto& count) { return count > 0; });
  }

  // Each block that was read, for one page, and what came along with it.
  uint64_t PagesFromDisk() const {
    return protocol_->disk_counts().blocks_read + protocol_->stats().read_ahead;
  }
  bool EnoughFromDisk() const {
    const WatchedDisk::Counts& disk = protocol_->disk_counts();
    return PagesFromDisk() >= options_.operations / kOperationsPerDiskPage && disk.raw_read > 0;
  }

  bool Enough() const {
    const SwapStats& stats = protocol_->stats();
    const uint64_t swaps = std::min<uint64_t>(stats.swapped_out, stats.swapped_in);
    return guest_->operations() >= options_.operations && EveryKindWasDone() &&
           swaps >= options_.operations / kOperationsPerSwap &&
           stats.given_back >= options_.operations / kOperationsPerGivenBack &&
           (!options_.guest.both_tiers || EnoughFromDisk()) && stats.discarded > 0 &&
           report_.barriers_that_waited > 0 && report_.slow_pages > 0;
  }

  // Gives the order and looks until `happened`, the time is over, or something is wrong.
  template <typename Condition>
  bool Await(Guest::Order order, Condition happened, const char* what) {
    const int64_t deadline_ns = MonotonicNs() + options_.seconds * kNsPerS;
    WakeEvent never;
    for (;; order = Guest::Order::kReport) {
      const auto report = guest_->Give(order);
      if (!report.ok()) return Fail(std::string(report.status().message()));
      report_ = *report;
      if (!CheckReport()) return false;
      if (order == Guest::Order::kReport && happened()) return true;
      if (MonotonicNs() > deadline_ns) {
        return Fail(absl::StrCat(what, " is not done in time, or too little of something"));
      }
      if (MonotonicNs() - progress_ns_ > kProgressNs) {
        progress_ns_ = MonotonicNs();
        std::printf("  %s\n", Summary().c_str());
      }
      WaitReadable(never.fd(), never, kLookNs);
    }
  }

  // The guest verifies twice: bringing pages back, and without any help.
  bool BringBackAndVerify() {
    const auto is_done = [&] { return report_.done; };
    if (!Await(Guest::Order::kVerify, is_done, "the verification")) return false;
    const absl::Status back = protocol_->BringAllBack(kFinishNs);
    if (!back.ok()) return Fail(std::string(back.message()));
    return Await(Guest::Order::kVerify, is_done, "the last verification");
  }

  bool CheckReport() {
    if (report_.wrong > 0) return Fail("wrong bytes");
    if (report_.failed > 0) return Fail("system calls failed on guest memory");
    if (report_.stuck > 0) {
      return Fail(absl::StrCat("hung: ", report_.stuck_in.data(), "; ",
                               protocol_->Describe({report_.stuck_page})));
    }
    const SwapStats& stats = protocol_->stats();
    if (stats.lost_pages > 0 || stats.foreign_pages > 0 || stats.failed_punches > 0) {
      return Fail(absl::StrFormat("%d pages lost, %d foreign, %d punches failed",
                                  stats.lost_pages.load(), stats.foreign_pages.load(),
                                  stats.failed_punches.load()));
    }
    return true;
  }

  void PrintCounts() {
    for (size_t i = 0; i < synthetic::kOperations; ++i) {
      const auto operation = static_cast<synthetic::Operation>(i);
      std::printf("  %s %lu\n", synthetic::OperationName(operation),
                  guest_->by_operation()[i].load());
    }
  }

  bool Fail(const std::string& why) {
    std::printf("FAILED: %s\n", why.c_str());
    return false;
  }

  const Options& options_;
  Guest* const guest_;
  PageProtocol* const protocol_;
  const int64_t began_ns_;
  int64_t progress_ns_ = began_ns_;
  GuestReport report_ = {};
};

bool Run(const Options& options) {
  std::printf("hammer, %lu pages: seed %lu\n", options.guest.pages, options.guest.seed);
  if (options.delays) StartDelays(options.guest.seed);
  if (options.guest.pages < kFewPages) StayOnFewCpus();
  absl::StatusOr<Guest> guest = Guest::Start(options.guest);
  if (!guest.ok()) {
    std::printf("FAILED: %s\n", std::string(guest.status().message()).c_str());
    return false;
  }
  const auto protocol = PageProtocol::Start(&*guest, options.guest);
  if (!protocol.ok()) {
    std::printf("FAILED: %s\n", std::string(protocol.status().message()).c_str());
    return false;
  }
  const bool passed = Hammer(options, &*guest, protocol->get()).Run();
  std::fflush(nullptr);
  // What hangs cannot be joined; the guest dies with this process.
  if (!passed) _exit(1);
  return true;
}

}  // namespace
}  // namespace ebb::hammer

int main(int argc, char** argv) {
  const ebb::hammer::Options options = ebb::hammer::ParseOptions(argc, argv);
  setvbuf(stdout, nullptr, _IOLBF, 0);
  return ebb::hammer::Run(options) ? 0 : 1;
}
