// SPDX-License-Identifier: MIT
// Three threads: the hot part is read and rewritten all the time, a sweep verifies everything else
// again and again, and once a second the main thread reports.
#include "tests/guest/workload.h"

#include <sys/sysinfo.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>

#include "tests/guest/disk_part.h"
#include "tests/guest/memory_part.h"
#include "tests/guest/pace.h"
#include "tests/guest/report.h"

namespace ebb::guest {
namespace {

constexpr const char* kDevice = "/dev/vda";

// What the guest's kernel and this program need beside the pages to fill.
constexpr uint64_t kSpareMib = 24;

// One page in so many is rewritten each time it was verified.
constexpr uint64_t kHotRewriteEvery = 4;
constexpr uint64_t kColdRewriteEvery = 64;

// Running out of memory half way would end in the OOM killer, which explains nothing.
void CheckMemorySuffices(const Parameters& parameters) {
  struct sysinfo info {};
  sysinfo(&info);
  const uint64_t free_mib = info.freeram * info.mem_unit / kMiB;
  const uint64_t needed_mib = parameters.fill_mib + parameters.disk_mib + kSpareMib;
  if (free_mib >= needed_mib) return;
  Fail("the guest has " + std::to_string(free_mib) + " MiB free and needs " +
       std::to_string(needed_mib) + " MiB: give it more memory (--ram)");
}

class Workload {
 public:
  explicit Workload(const Parameters& parameters)
      : parameters_(parameters),
        pages_(BytesToPages(parameters.fill_mib * kMiB)),
        hot_pages_(BytesToPages(parameters.hot_mib * kMiB)),
        memory_(parameters.seed, pages_, progress_) {
    if (parameters.disk_mib > 0) {
      disk_ = std::make_unique<DiskPart>(
          kDevice, parameters.seed, parameters.disk_mib * kMiB / DiskPart::kChunkBytes, progress_);
    }
  }

  [[noreturn]] void Run() {
    std::thread([this] { FillThenSweep(); }).detach();
    for (;;) {
      ReportProgress(progress_);
      // style-ok(sleep): the rhythm of the reports
      std::this_thread::sleep_for(std::chrono::seconds(1));
    }
  }

 private:
  [[noreturn]] void FillThenSweep() {
    Pace fill_pace(parameters_.fill_mib_s);
    memory_.Fill(fill_pace);
    if (disk_) disk_->Fill(fill_pace);
    progress_.running = true;
    std::thread([this] { KeepHot(); }).detach();
    SweepForever();
  }

  [[noreturn]] void KeepHot() {
    Pace pace(parameters_.hot_mib_s);
    for (uint64_t round = 0;; ++round) {
      progress_.hot_rewrites +=
          memory_.Sweep(0, hot_pages_, kHotRewriteEvery, round % kHotRewriteEvery, pace);
    }
  }

  [[noreturn]] void SweepForever() {
    Pace pace(parameters_.sweep_mib_s);
    for (uint64_t round = 0;; ++round) {
      const uint64_t remainder = round % kColdRewriteEvery;
      memory_.Sweep(hot_pages_, pages_, kColdRewriteEvery, remainder, pace);
      if (disk_) disk_->Sweep(kColdRewriteEvery, remainder, pace);
      ++progress_.sweeps;
    }
  }

  const Parameters parameters_;
  const uint64_t pages_;
  const uint64_t hot_pages_;
  Progress progress_;
  MemoryPart memory_;
  std::unique_ptr<DiskPart> disk_;
};

}  // namespace

void RunWorkload(const Parameters& parameters) {
  CheckMemorySuffices(parameters);
  Workload(parameters).Run();
}

}  // namespace ebb::guest
