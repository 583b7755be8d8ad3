// SPDX-License-Identifier: MIT
#include "hostd/vm/hotplug.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "hostd/vm/registry.h"
#include "tests/hostd/vm/plugged_qemu.h"

namespace ebb {
namespace {

class HotplugTest : public PluggedQemuTest {
 protected:
  size_t CountOf(const std::string& kind) const {
    size_t count = 0;
    for (const std::string& event : Events()) count += event.rfind(kind + ": ", 0) == 0 ? 1 : 0;
    return count;
  }

  uint64_t available_bytes_ = 1024 * kMiB;
  Hotplug hotplug_{&registry_, [this] { return available_bytes_; }};
};

TEST_F(HotplugTest, VmWhoseRamIsWhatItWasIsLeftAlone) {
  const auto qemu = StartQemu({0, 1});
  const auto vm = Attach(qemu->pid(), 2);
  hotplug_.Follow(*vm, {}, 0);
  EXPECT_EQ(vm->state(), Vm::State::kRunning);
  EXPECT_TRUE(Events().empty());
}

TEST_F(HotplugTest, VmWithMoreRamIsAttachedAgainWithTheLimitItHas) {
  const auto qemu = StartQemu({0, 1});
  auto vm = Attach(qemu->pid(), 1);
  ASSERT_TRUE(vm->entitlement().SetLimit(64 * kMiB).ok());
  hotplug_.Follow(*vm, {}, 0);
  EXPECT_TRUE(WaitUntil([&] { return vm->state() == Vm::State::kDetached; }));
  const std::string why =
      "32 MiB of memory were plugged into it; it is attached again with what it has now";
  EXPECT_EQ(vm->detach_reason(), why);
  EXPECT_EQ(Events().front(), "ram_changed: web: " + why);
  registry_.NoteDetached("web");
  registry_.Remove("web");
  EXPECT_EQ(registry_.Status().detached_vms, 0u) << "nothing is wrong with it";
  EXPECT_TRUE(registry_.CheckMayAttach("web", qemu->pid()).ok());
  EXPECT_EQ(Attach(qemu->pid(), 2)->entitlement().orders().limit, 64 * kMiB);
}

TEST_F(HotplugTest, WhatDoesNotFitIsDeferredAndSaidOnce) {
  const auto qemu = StartQemu({0, 1});
  const auto vm = Attach(qemu->pid(), 1);
  available_bytes_ = kMiB;
  for (int64_t second = 0; second < 3; ++second) hotplug_.Follow(*vm, {}, second * kNsPerS);
  EXPECT_EQ(vm->state(), Vm::State::kRunning);
  ASSERT_EQ(Events().size(), 1u);
  EXPECT_NE(Events()[0].find("the host has 1 MiB available"), std::string::npos) << Events()[0];
  available_bytes_ = 1024 * kMiB;
  hotplug_.Follow(*vm, {}, 3 * kNsPerS);
  EXPECT_NE(vm->state(), Vm::State::kRunning);
}

// As when the detach failed, or the library did not tell of all of it.
TEST_F(HotplugTest, VmThatDidNotReturnWithAllOfItIsTriedAgainMuchLater) {
  const auto qemu = StartQemu({0, 1});
  const auto vm = Attach(qemu->pid(), 1);
  hotplug_.Follow(*vm, {}, 0);
  hotplug_.Follow(*vm, {}, 59 * kNsPerS);
  EXPECT_EQ(CountOf("ram_changed"), 1u);
  hotplug_.Follow(*vm, {}, 60 * kNsPerS);
  EXPECT_EQ(CountOf("ram_changed"), 2u);
  hotplug_.Follow(*vm, {}, 179 * kNsPerS);
  EXPECT_EQ(CountOf("ram_changed"), 2u) << "each time twice as long";
}

TEST_F(HotplugTest, UnpluggedRamIsForgottenAlthoughTheRestDoesNotFit) {
  const auto qemu = StartQemu({1});
  const auto vm = Attach(qemu->pid(), 2);
  ASSERT_TRUE(vm->SwapOut(32 * kMiB).ok());
  ASSERT_TRUE(WaitUntil([&] { return vm->Status().swapped_bytes >= 16 * kMiB; }));
  const PageRange unplugged = {{0}, kPages};
  memory_->Unplug(unplugged);
  available_bytes_ = 0;
  hotplug_.Follow(*vm, {0}, 0);
  EXPECT_EQ(memory_->NextPresent(unplugged).count, 0u);
  EXPECT_EQ(vm->state(), Vm::State::kRunning);
  EXPECT_GE(vm->Status().pages_discarded, BytesToPages(16 * kMiB));
  ASSERT_EQ(Events().size(), 1u);
  EXPECT_NE(Events()[0].find("32 MiB of memory were unplugged from it"), std::string::npos);
  vm->Detach("the end of the test");
  EXPECT_TRUE(WaitUntil([&] { return vm->state() == Vm::State::kDetached; }));
}

}  // namespace
}  // namespace ebb
