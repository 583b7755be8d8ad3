// SPDX-License-Identifier: MIT
#pragma once

#include <unistd.h>

#include <memory>
#include <string>
#include <utility>

#include "tests/hostd/vm/vm_fixture.h"

namespace ebb {

// A whole Vm, threads and all, on the simulated kernel.
struct RunningVm {
  // `populated` pages have content of their own; the rest are holes.
  static RunningVm Start(const std::string& name, uint64_t pages, uint64_t populated,
                         int pid = getpid(), HostTiers tiers = {}) {
    RunningVm running;
    auto memory = std::make_unique<FakeGuestMemory>(pages);
    auto barrier = std::make_unique<InstantBarrier>();
    for (uint64_t page = 0; page < populated; ++page) {
      memory->Populate({page}, VmPages::ContentOf(page));
    }
    running.memory = memory.get();
    running.barrier = barrier.get();
    Vm::Parts parts;
    parts.name = name;
    parts.pid = pid;
    parts.tiers = tiers;
    parts.memory = std::move(memory);
    parts.barrier = std::move(barrier);
    auto vm = Vm::Start(std::move(parts));
    EXPECT_TRUE(vm.ok()) << vm.status();
    if (vm.ok()) running.vm = *std::move(vm);
    return running;
  }

  // Pages come out in real time: a second to cool, and a pass here and there.
  bool WaitForState(Vm::State state) const {
    return WaitUntil([&] { return vm->state() == state; });
  }
  bool WaitForResident(uint64_t pages) const {
    return WaitUntil([&] { return memory->ResidentPages() <= pages; });
  }

  std::shared_ptr<Vm> vm;
  FakeGuestMemory* memory = nullptr;  // the VM's
  InstantBarrier* barrier = nullptr;
};

}  // namespace ebb
