// SPDX-License-Identifier: MIT
#pragma once

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "hostd/base/clock.h"
#include "hostd/os/process.h"
#include "hostd/vm/registry.h"
#include "tests/hostd/os/child_process.h"
#include "tests/hostd/os/memfd.h"
#include "tests/hostd/vm/running_vm.h"

namespace ebb {

// A process that maps memfds as QEMU does guest RAM, at addresses the test chose, and VMs of it on
// the simulated kernel. Each memfd has kPages.
class PluggedQemuTest : public testing::Test {
 protected:
  static constexpr uint64_t kPages = BytesToPages(32 * kMiB);

  void SetUp() override {
    for (int i = 0; i < 2; ++i) {
      memfds_.emplace_back(memfd_create("memory-backend-memfd", MFD_CLOEXEC | MFD_ALLOW_SEALING));
      ASSERT_EQ(ftruncate(memfds_.back().get(), static_cast<off_t>(PagesToBytes(kPages))), 0);
      files_.push_back(FileOf(memfds_.back().get()));
    }
    base_ = mmap(nullptr, PagesToBytes(2 * kPages), PROT_NONE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    ASSERT_NE(base_, MAP_FAILED);
  }
  void TearDown() override { munmap(base_, PagesToBytes(2 * kPages)); }

  void* At(size_t memfd) const { return static_cast<char*>(base_) + PagesToBytes(memfd * kPages); }
  // It has no others open.
  std::unique_ptr<ChildProcess> StartQemu(const std::vector<size_t>& with) {
    return std::make_unique<ChildProcess>([&] {
      for (const size_t memfd : with) {
        if (mmap(At(memfd), PagesToBytes(kPages), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
                 memfds_[memfd].get(), 0) == MAP_FAILED) {
          _exit(1);
        }
      }
      memfds_.clear();
    });
  }
  // A VM that was attached when it had the first `memfds`.
  std::shared_ptr<Vm> Attach(int pid, size_t memfds) {
    std::vector<RamMapping> mappings;
    auto memory = std::make_unique<FakeGuestMemory>(std::vector<uint64_t>(memfds, kPages));
    for (size_t memfd = 0; memfd < memfds; ++memfd) {
      mappings.push_back({{reinterpret_cast<uint64_t>(At(memfd))}, kPages, 0, memfd});
    }
    for (uint64_t page = 0; page < memfds * kPages; ++page) {
      memory->Populate({page}, VmPages::ContentOf(page));
    }
    memory_ = memory.get();
    Vm::Parts parts;
    parts.name = "web";
    parts.pid = pid;
    parts.pidfd = *OpenPidfd(pid);
    parts.ram.layout = RamLayout(std::move(mappings));
    parts.ram.files.assign(files_.begin(), files_.begin() + static_cast<ptrdiff_t>(memfds));
    parts.memory = std::move(memory);
    parts.barrier = std::make_unique<InstantBarrier>();
    std::shared_ptr<Vm> vm = *Vm::Start(std::move(parts));
    registry_.Add(vm);
    return vm;
  }
  // Since the VM was attached, as "kind: message".
  std::vector<std::string> Events() const {
    std::vector<std::string> events;
    for (const Event& event : registry_.EventsAfter(1).events) {
      events.push_back(std::string(EventKindName(event.kind)) + ": " + event.message);
    }
    return events;
  }

  std::vector<UniqueFd> memfds_;
  std::vector<FileId> files_;
  void* base_ = nullptr;
  Registry registry_{"test", MonotonicNs()};
  FakeGuestMemory* memory_ = nullptr;  // the VM's
};

}  // namespace ebb
