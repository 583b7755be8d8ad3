// SPDX-License-Identifier: MIT
// The hot part of memory is read and rewritten all the time, a sweep verifies the rest again and
// again, and so does one for each disk; once a second the main thread reports.
#include "tests/guest/workload.h"

#include <sys/sysinfo.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/guest/disk_part.h"
#include "tests/guest/memory_part.h"
#include "tests/guest/pace.h"
#include "tests/guest/report.h"

namespace ebb::guest {
namespace {

std::string DeviceName(uint64_t disk) {
  return std::string("/dev/vd") + static_cast<char>('a' + disk);
}

// What the guest's kernel and this program need beside the pages to fill.
constexpr uint64_t kSpareMib = 24;

// One page in so many is rewritten each time it was verified.
constexpr uint64_t kHotRewriteEvery = 4;
constexpr uint64_t kColdRewriteEvery = 64;

constexpr uint64_t kFirstChurnSeed = 1000;

// Running out of memory half way would end in the OOM killer, which explains nothing.
void CheckMemorySuffices(const Parameters& parameters) {
  struct sysinfo info {};
  sysinfo(&info);
  const uint64_t free_mib = info.freeram * info.mem_unit / kMiB;
  const uint64_t needed_mib = parameters.fill_mib + parameters.churn_mib +
                              parameters.disks * parameters.disk_mib + kSpareMib;
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
    for (uint64_t disk = 0; disk < parameters.disks; ++disk) {
      disks_.push_back(std::make_unique<DiskPart>(
          DeviceName(disk), parameters.seed + disk,
          parameters.disk_mib * kMiB / DiskPart::kChunkBytes, progress_));
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
    for (const auto& disk : disks_) disk->Fill(fill_pace);
    progress_.running = true;
    std::thread([this] { KeepHot(); }).detach();
    if (parameters_.churn_mib > 0) std::thread([this] { Churn(); }).detach();
    for (const auto& disk : disks_) {
      std::thread([this, disk = disk.get()] { SweepForever(*disk); }).detach();
    }
    SweepForever();
  }

  [[noreturn]] void KeepHot() {
    Pace pace(parameters_.hot_mib_s);
    for (uint64_t round = 0;; ++round) {
      progress_.hot_rewrites +=
          memory_.Sweep(0, hot_pages_, kHotRewriteEvery, round % kHotRewriteEvery, pace);
    }
  }

  // Memory that the guest gives back to its kernel, and its kernel to the balloon.
  [[noreturn]] void Churn() {
    const uint64_t pages = BytesToPages(parameters_.churn_mib * kMiB);
    const std::chrono::seconds rest(parameters_.churn_s);
    for (uint64_t round = 0;; ++round) {
      {
        MemoryPart memory(parameters_.seed + kFirstChurnSeed + round, pages, progress_);
        Pace pace(parameters_.fill_mib_s);
        memory.Fill(pace);
        // style-ok(sleep): long enough to be found cold
        std::this_thread::sleep_for(rest);
        memory.Sweep(0, pages, /*every=*/pages, /*remainder=*/pages, pace);  // rewrites none
      }
      // style-ok(sleep): long enough to be given back
      std::this_thread::sleep_for(rest);
    }
  }

  [[noreturn]] void SweepForever() {
    Pace pace(parameters_.sweep_mib_s);
    for (uint64_t round = 0;; ++round) {
      memory_.Sweep(hot_pages_, pages_, kColdRewriteEvery, round % kColdRewriteEvery, pace);
      ++progress_.sweeps;
    }
  }

  [[noreturn]] void SweepForever(DiskPart& disk) {
    Pace pace(parameters_.disk_mib_s);
    for (uint64_t round = 0;; ++round) {
      disk.Sweep(kColdRewriteEvery, round % kColdRewriteEvery, pace);
      ++progress_.disk_sweeps;
    }
  }

  const Parameters parameters_;
  const uint64_t pages_;
  const uint64_t hot_pages_;
  Progress progress_;
  MemoryPart memory_;
  std::vector<std::unique_ptr<DiskPart>> disks_;
};

}  // namespace

void RunWorkload(const Parameters& parameters) {
  CheckMemorySuffices(parameters);
  Workload(parameters).Run();
}

}  // namespace ebb::guest
