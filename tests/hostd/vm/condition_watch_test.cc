// SPDX-License-Identifier: MIT
#include "hostd/vm/condition_watch.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <utility>

#include "tests/hostd/os/child_process.h"
#include "tests/hostd/vm/plugged_qemu.h"
#include "tests/hostd/vm/running_vm.h"

namespace ebb {
namespace {

// A VM whose RAM is a real memfd to everybody who looks at /proc, and simulated to itself.
class ConditionWatchTest : public testing::Test {
 protected:
  void SetUp() override {
    memfd_ = UniqueFd(memfd_create("ebb-test", MFD_CLOEXEC));
    ASSERT_EQ(ftruncate(memfd_.get(), static_cast<off_t>(PagesToBytes(16))), 0);
  }
  void MapRam() const {
    if (mmap(nullptr, PagesToBytes(16), PROT_READ | PROT_WRITE, MAP_SHARED, memfd_.get(), 0) ==
        MAP_FAILED) {
      _exit(1);
    }
  }
  std::shared_ptr<Vm> Attach(const ChildProcess& qemu) {
    struct stat info;
    EXPECT_EQ(fstat(memfd_.get(), &info), 0);
    Vm::Parts parts;
    parts.name = "vm1";
    parts.pid = qemu.pid();
    parts.pidfd = *OpenPidfd(qemu.pid());
    parts.ram.files = {{info.st_dev, info.st_ino}};
    parts.memory = std::make_unique<FakeGuestMemory>(16);
    parts.barrier = std::make_unique<FakeIoBarrier>();
    std::shared_ptr<Vm> vm = *Vm::Start(std::move(parts));
    registry_.Add(vm);
    return vm;
  }
  // The watch has looked once: it does so when it starts, and sees this VM's state then.
  void LookOnce() { ConditionWatch watch(&registry_); }

  UniqueFd memfd_;
  Registry registry_{"test", MonotonicNs()};
};

TEST_F(ConditionWatchTest, VmThatMayBeManagedStaysAttached) {
  const ChildProcess qemu([this] { MapRam(); });
  const auto vm = Attach(qemu);
  LookOnce();
  EXPECT_EQ(vm->state(), Vm::State::kRunning);
}

TEST_F(ConditionWatchTest, VmWhoseRamAnotherProcessMapsIsDetached) {
  const ChildProcess qemu([this] { MapRam(); });
  const ChildProcess virtiofsd([this] { MapRam(); });
  const auto vm = Attach(qemu);
  const ConditionWatch watch(&registry_);
  EXPECT_TRUE(WaitUntil([&] { return vm->state() == Vm::State::kDetached; }));
  // Of so little memory all may be back before it is said that that has begun.
  ASSERT_TRUE(WaitUntil([&] { return !registry_.EventsAfter(1).events.empty(); }));
  const Event begun = registry_.EventsAfter(1).events.at(0);
  EXPECT_EQ(begun.kind, EventKind::kDetachBegun);
  EXPECT_NE(begun.message.find(vm->detach_reason()), std::string::npos) << begun.message;
  EXPECT_NE(vm->detach_reason().find(std::to_string(virtiofsd.pid())), std::string::npos);
}

TEST_F(ConditionWatchTest, MapperThatComesLaterIsFoundWithinSeconds) {
  const ChildProcess qemu([this] { MapRam(); });
  const auto vm = Attach(qemu);
  const ConditionWatch watch(&registry_);
  const ChildProcess virtiofsd([this] { MapRam(); });
  EXPECT_TRUE(WaitUntil([&] { return vm->state() != Vm::State::kRunning; }));
}

// It could map the memory at any time, and reads holes as zeros until then.
TEST_F(ConditionWatchTest, VmWhoseRamAnotherProcessHasOpenIsDetached) {
  const ChildProcess qemu([this] { MapRam(); });
  const ChildProcess holder([] {});  // forked with all descriptors
  const auto vm = Attach(qemu);
  const ConditionWatch watch(&registry_);
  EXPECT_TRUE(WaitUntil([&] { return vm->state() == Vm::State::kDetached; }));
}

// A child of QEMU between fork and exec.
TEST_F(ConditionWatchTest, ProcessThatHasTheRamOpenForAMomentIsNoReason) {
  const ChildProcess qemu([this] { MapRam(); });
  ChildProcess forked([] {});
  const auto vm = Attach(qemu);
  ConditionWatch watch(&registry_);
  forked.Kill();
  WakeEvent never;
  WaitReadable(never.fd(), never, kNsPerS / 2);  // the second look
  EXPECT_EQ(vm->state(), Vm::State::kRunning);
}

TEST_F(ConditionWatchTest, VmThatHasExitedIsNotDetached) {
  ChildProcess qemu([this] { MapRam(); });
  const ChildProcess virtiofsd([this] { MapRam(); });
  const auto vm = Attach(qemu);
  qemu.Kill();
  LookOnce();
  EXPECT_EQ(vm->state(), Vm::State::kRunning) << "there is nothing left to bring back";
}

using ConditionWatchHotplugTest = PluggedQemuTest;

TEST_F(ConditionWatchHotplugTest, UnplugIsNoFailure) {
  const auto qemu = StartQemu({0});
  const auto vm = Attach(qemu->pid(), 2);
  const ConditionWatch watch(&registry_);
  ASSERT_TRUE(WaitUntil([&] { return vm->state() == Vm::State::kDetached; }));
  EXPECT_EQ(vm->detach_reason(),
            "32 MiB of memory were unplugged from it; it is attached again with what it has now");
  EXPECT_TRUE(registry_.CheckMayAttach("web", qemu->pid()).ok());
}

// As a library would that tells lies, or a QEMU that maps something else over its RAM.
TEST_F(ConditionWatchHotplugTest, RamThatIsOpenAndNotMappedIsAFailure) {
  const ChildProcess qemu([this] {
    mmap(At(0), PagesToBytes(kPages), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
         memfds_[0].get(), 0);
  });
  const auto vm = Attach(qemu.pid(), 2);
  const ConditionWatch watch(&registry_);
  ASSERT_TRUE(WaitUntil([&] { return vm->state() != Vm::State::kRunning; }));
  EXPECT_NE(vm->detach_reason().find("does not map guest RAM"), std::string::npos);
}

TEST_F(ConditionWatchTest, NothingAttachedIsNothingToDo) { LookOnce(); }

}  // namespace
}  // namespace ebb
