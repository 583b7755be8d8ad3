// SPDX-License-Identifier: MIT
#pragma once

#include "hostd/base/clock.h"
#include "hostd/vm/vm.h"
#include "tests/fakes/fake_guest_memory.h"
#include "tests/fakes/fake_io_barrier.h"
#include "tests/hostd/swap/vm_pages.h"

namespace ebb {

// A barrier that completes as soon as it is asked for, and so never holds anything up.
class InstantBarrier : public FakeIoBarrier {
 public:
  void Request(bool urgent) override {
    FakeIoBarrier::Request(urgent);
    Complete(MonotonicNs());
  }
};

}  // namespace ebb
