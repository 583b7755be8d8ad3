// SPDX-License-Identifier: MIT
// A process that plays QEMU and its guest: RAM in a memfd, libebb-qemu.so, a QMP socket, disks, and
// threads that check every byte they have written. What must be where is known here alone, outside
// of the code under test. Built as qemu-system-synthetic: that name lets a preloaded library in.
//
// Obeys lines on stdin, and answers each with one line of JSON on stdout:
//   hammer          lets the VCPUs loose
//   pause           stops them
//   verify          stops them and looks at all of guest memory
//   slow N MS       has the slow device do N rounds of requests that take MS
//   violate WHAT    does what Ebb does not allow (violation.h)
//   report          the counters
//   quit            exits, whatever the VCPUs are doing; so does the end of stdin
#include <dlfcn.h>
#include <malloc.h>
#include <unistd.h>

#include <climits>
#include <cstdio>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "hostd/base/units.h"
#include "tests/synthetic/crew.h"
#include "tests/synthetic/die.h"
#include "tests/synthetic/options.h"
#include "tests/synthetic/qmp_server.h"
#include "tests/synthetic/signal_storm.h"
#include "tests/synthetic/slow_device.h"
#include "tests/synthetic/vcpu.h"
#include "tests/synthetic/violation.h"

// As QEMU exports it, with the head of a VersionInfo: the version is what ebbd knows it by.
extern "C" const void* qmp_query_version(void** error);
const void* qmp_query_version(void**) {
  static constexpr int64_t kVersion[] = {7, 2, 0};
  static constexpr const void* kVersionInfo[] = {&kVersion};
  return kVersionInfo;
}

namespace ebb::synthetic {
namespace {

using OrderedJson = nlohmann::ordered_json;

constexpr size_t kDiskBytes = 4 * kMiB;
constexpr int kOrderSeconds = 60;
// Ebb slows a fault down by 10 ms at most; the rest is for a busy machine.
constexpr int64_t kStuckNs = 5 * kNsPerS;

void LoadPlugin(const Options& options) {
  void* library = dlopen(options.plugin.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    std::fprintf(stderr, "%s\n", dlerror());
    _exit(2);
  }
  using Install = int (*)(uint64_t, const void*, int, char**);
  const auto install = reinterpret_cast<Install>(dlsym(library, "qemu_plugin_install"));
  std::vector<std::string> texts = options.plugin_arguments;
  std::vector<char*> arguments;
  arguments.reserve(texts.size());
  for (std::string& text : texts) arguments.push_back(text.data());
  if (install == nullptr ||
      install(1, nullptr, static_cast<int>(arguments.size()), arguments.data()) != 0) {
    std::fputs("the plugin does not install\n", stderr);
    _exit(2);
  }
}

// The heap has what it needs from now on, and never gives anything back: where the memory cgroup is
// full, the answer to a barrier must cost no page. Locking it would not do, for Ebb takes no VM
// that locks memory.
void KeepOwnMemory() {
  constexpr size_t kHeapBytes = 4 * kMiB;
  if (mallopt(M_ARENA_MAX, 1) == 0 || mallopt(M_TRIM_THRESHOLD, INT_MAX) == 0 ||
      mallopt(M_MMAP_THRESHOLD, 2 * kHeapBytes) == 0) {
    Die("setting up the heap");
  }
  const auto heap = std::make_unique<std::vector<char>>(kHeapBytes, 'h');
}

class SyntheticVm {
 public:
  explicit SyntheticVm(const Options& options)
      : ram_(options.ram_bytes),
        content_(options.seed),
        punch_front_(&ram_),
        disk_(DirectFile::Create(options.disk_folders, kDiskBytes)),
        qmp_(options.qmp_path, &in_flight_) {
    if (disk_.valid()) disk_.WriteSectors(content_);
    // As in QEMU: RAM is mapped, and nothing is written to it yet.
    if (!options.plugin.empty()) LoadPlugin(options);
    crew_ = std::make_unique<Crew>(MakeWorkers(options));
    if (options.signals) StartSignalStorm(crew_.get());
  }

  OrderedJson Obey(const std::string& line) {
    std::istringstream words(line);
    std::string command;
    words >> command;
    if (command == "hammer") {
      crew_->Give(Crew::Order::kHammer);
    } else if (command == "pause") {
      return Finish(Crew::Order::kPause);
    } else if (command == "verify") {
      return Finish(Crew::Order::kVerify);
    } else if (command == "slow") {
      uint64_t rounds = 0;
      int64_t ms = 0;
      words >> rounds >> ms;
      slow_device_->AskFor(rounds, ms * kNsPerMs);
    } else if (command == "violate") {
      std::string what;
      std::string path;
      words >> what >> path;
      if (!Violate(what, path, &ram_)) return {{"error", "cannot " + what}};
    } else if (command != "report") {
      return {{"error", "unknown command"}};
    }
    return Report();
  }

  // Fill is the crew's first order.
  OrderedJson AwaitFilled() { return AwaitDone("fill"); }

 private:
  std::vector<std::unique_ptr<Worker>> MakeWorkers(const Options& options) {
    std::vector<std::unique_ptr<Worker>> workers;
    const Vcpu::Parts parts = {.ram = &ram_,
                               .content = &content_,
                               .mistakes = &mistakes_,
                               .in_flight = &in_flight_,
                               .punch_front = &punch_front_,
                               .disk = &disk_,
                               .disk_folders = options.disk_folders,
                               .seed = options.seed};
    for (uint32_t i = 0; i < kVcpus; ++i) {
      workers.push_back(std::make_unique<Vcpu>(parts, i, &counts_));
    }
    auto slow_device = std::make_unique<SlowDevice>(SlowDevice::Parts{&in_flight_, &disk_},
                                                    Slices::Parts{&ram_, &content_, &mistakes_});
    slow_device_ = slow_device.get();
    workers.push_back(std::move(slow_device));
    return workers;
  }

  OrderedJson Finish(Crew::Order order) {
    crew_->Give(order);
    return AwaitDone("order");
  }

  OrderedJson AwaitDone(const char* what) {
    const bool done = crew_->AwaitDone(kOrderSeconds);
    OrderedJson report = Report();
    if (!done) report["error"] = std::string("the ") + what + " is not done in time";
    return report;
  }

  OrderedJson Report() {
    OrderedJson report;
    uint64_t total = 0;
    for (size_t i = 0; i < kOperations; ++i) {
      report["by_operation"][OperationName(static_cast<Operation>(i))] = counts_[i].load();
      total += counts_[i];
    }
    report["operations"] = total;
    report["wrong"] = mistakes_.wrong();
    report["failed"] = mistakes_.failed();
    report["stuck"] = OrderedJson::array();
    for (const Crew::Stuck& stuck : crew_->StuckFor(kStuckNs))
      report["stuck"].push_back(stuck.what);
    report["longest_ms"] = crew_->LongestNs() / kNsPerMs;
    report["drains"] = in_flight_.drains();
    report["drains_that_waited"] = in_flight_.drains_that_waited();
    report["slow_rounds_to_do"] = slow_device_->rounds_to_do();
    report["slow_pages"] = slow_device_->pages_read();
    report["disk_folder"] = disk_.folder();
    return report;
  }

  GuestRam ram_;
  const Content content_;
  Mistakes mistakes_;
  InFlight in_flight_;
  PunchFront punch_front_;
  DirectFile disk_;
  QmpServer qmp_;
  Vcpu::Counts counts_ = {};
  SlowDevice* slow_device_ = nullptr;  // owned by crew_
  std::unique_ptr<Crew> crew_;
};

}  // namespace
}  // namespace ebb::synthetic

int main(int argc, char** argv) {
  const ebb::synthetic::Options options = ebb::synthetic::ParseOptions(argc, argv);
  if (options.keep_own_memory) ebb::synthetic::KeepOwnMemory();
  ebb::synthetic::SyntheticVm vm(options);
  std::cout << vm.AwaitFilled().dump() << std::endl;
  for (std::string line; std::getline(std::cin, line) && line != "quit";) {
    std::cout << vm.Obey(line).dump() << std::endl;
  }
  // Not by way of destructors: as in QEMU, threads are in the middle of things.
  _exit(0);
}
