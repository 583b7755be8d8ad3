// SPDX-License-Identifier: MIT
#include "hostd/vm/registry.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "hostd/base/wall_time.h"
#include "hostd/os/process.h"
#include "tests/hostd/os/child_process.h"
#include "tests/hostd/vm/running_vm.h"

namespace ebb {
namespace {

constexpr Caller kCaller = {1000, 4242};

class RegistryTest : public testing::Test {
 protected:
  void Add(const std::string& name) { registry_.Add(RunningVm::Start(name, 16, 16).vm); }
  std::vector<std::string> Names() {
    std::vector<std::string> names;
    for (const VmStatus& status : registry_.Vms()) names.push_back(status.name);
    return names;
  }

  // Since the last call, as "kind: message".
  std::vector<std::string> NewEvents() {
    std::vector<std::string> events;
    const EventBatch batch = registry_.EventsAfter(seen_);
    for (const Event& event : batch.events) {
      events.push_back(std::string(EventKindName(event.kind)) + ": " + event.message);
    }
    seen_ = batch.next;
    return events;
  }

  Registry registry_{"1.2.3", MonotonicNs()};
  uint64_t seen_ = 0;
};

TEST_F(RegistryTest, StatusSaysWhatTheDaemonIs) {
  const HostStatus status = registry_.Status();
  EXPECT_EQ(status.version, "1.2.3");
  EXPECT_EQ(status.pid, getpid());
  EXPECT_EQ(status.kernel, KernelRelease());
  EXPECT_EQ(status.state, "running");
  EXPECT_EQ(status.vms, 0u);
  EXPECT_GE(status.uptime_s, 0);
  EXPECT_LT(status.uptime_s, 60);
  EXPECT_NEAR(status.started_s + status.uptime_s, static_cast<double>(WallTimeMs()) / 1000, 60);
  EXPECT_EQ(registry_.Status().started_s, status.started_s) << "whenever it is asked";
}

TEST(Registry, StatusHasTheMaximumOfAllPools) {
  EXPECT_EQ(Registry("1", MonotonicNs()).Status().pool_max_bytes, 0u);
  EXPECT_EQ(Registry("1", MonotonicNs(), 0, kMiB).Status().pool_max_bytes, kMiB);
}

TEST_F(RegistryTest, VmsAreListedByName) {
  Add("beta");
  Add("alpha");
  EXPECT_EQ(Names(), (std::vector<std::string>{"alpha", "beta"}));
  EXPECT_EQ(registry_.Status().vms, 2u);
  EXPECT_TRUE(registry_.Contains("alpha"));
  EXPECT_FALSE(registry_.Contains("gamma"));
  EXPECT_EQ(registry_.Vm("beta")->name, "beta");
}

TEST_F(RegistryTest, RemovedVmIsGoneAndTheOthersStay) {
  Add("alpha");
  Add("beta");
  registry_.Remove("alpha");
  registry_.Remove("never there");
  EXPECT_EQ(Names(), std::vector<std::string>{"beta"});
}

TEST_F(RegistryTest, UnknownVmIsNamedInEveryAnswer) {
  for (const absl::Status& status :
       {registry_.Vm("ghost").status(), registry_.SetLimit("ghost", 0, kCaller),
        registry_.SwapOut("ghost", 64 * kMiB, kCaller), registry_.SwapIn("ghost", kCaller),
        registry_.Detach("ghost", kCaller), registry_.Attach("ghost", kCaller)}) {
    EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
    EXPECT_NE(status.message().find("ghost"), std::string::npos);
  }
}

TEST_F(RegistryTest, RequestsReachTheVmThatIsNamed) {
  Add("alpha");
  Add("beta");
  ASSERT_TRUE(registry_.SetLimit("beta", 64 * kMiB, kCaller).ok());
  EXPECT_EQ(registry_.Vm("beta")->limit_bytes, 64 * kMiB);
  EXPECT_EQ(registry_.Vm("alpha")->limit_bytes, 0u);
  ASSERT_TRUE(registry_.SetLimit("beta", 0, kCaller).ok());
  EXPECT_EQ(registry_.Vm("beta")->limit_bytes, 0u);
}

TEST_F(RegistryTest, RefusalsOfTheVmComeThrough) {
  Add("alpha");
  EXPECT_EQ(registry_.SetLimit("alpha", 1, kCaller).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(registry_.SwapOut("alpha", 1, kCaller).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(registry_.SwapIn("alpha", kCaller).ok());
}

TEST_F(RegistryTest, BudgetGuaranteesAndWeightsAreSetAndAreEvents) {
  registry_.Add(RunningVm::Start("alpha", BytesToPages(64 * kMiB), 16).vm);
  NewEvents();
  ASSERT_TRUE(registry_.SetBudget(96 * kMiB, kCaller).ok());
  ASSERT_TRUE(registry_.SetGuarantee("alpha", 48 * kMiB, kCaller).ok());
  ASSERT_TRUE(registry_.SetWeight("alpha", 7, kCaller).ok());
  EXPECT_EQ(registry_.Status().budget_bytes, 96 * kMiB);
  EXPECT_EQ(registry_.Vm("alpha")->guarantee_bytes, 48 * kMiB);
  EXPECT_EQ(registry_.Vm("alpha")->weight, 7u);
  ASSERT_TRUE(registry_.SetBudget(0, kCaller).ok());
  EXPECT_EQ(NewEvents(),
            (std::vector<std::string>{
                "budget_changed: the budget of all VMs is 96 MiB (before: none), set by uid 1000, "
                "process 4242",
                "guarantee_changed: alpha is guaranteed 48 MiB, set by uid 1000, process 4242",
                "weight_changed: alpha has a weight of 7, set by uid 1000, process 4242",
                "budget_changed: the budget of all VMs is none (before: 96 MiB), set by uid 1000, "
                "process 4242"}));
}

TEST_F(RegistryTest, MoreThanTheBudgetIsNotGuaranteed) {
  for (const char* name : {"alpha", "beta"}) {
    registry_.Add(RunningVm::Start(name, BytesToPages(64 * kMiB), 16).vm);
  }
  ASSERT_TRUE(registry_.SetBudget(96 * kMiB, kCaller).ok());
  ASSERT_TRUE(registry_.SetGuarantee("alpha", 64 * kMiB, kCaller).ok());
  NewEvents();
  const absl::Status refused = registry_.SetGuarantee("beta", 33 * kMiB, kCaller);
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_NE(refused.message().find("other VMs are guaranteed 64 MiB"), std::string::npos);
  EXPECT_EQ(registry_.SetBudget(63 * kMiB, kCaller).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(registry_.SetBudget(1, kCaller).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(NewEvents().empty());
  EXPECT_TRUE(registry_.SetGuarantee("beta", 32 * kMiB, kCaller).ok());
  EXPECT_TRUE(registry_.SetGuarantee("alpha", 16 * kMiB, kCaller).ok()) << "its own may change";
}

// What the peers thread does with a VM that has been detached.
void LetGo(Registry& registry, const std::string& name) {
  ASSERT_TRUE(WaitUntil([&] {
    for (const auto& vm : registry.All()) {
      if (vm->name() == name && vm->state() != Vm::State::kDetached) return false;
    }
    return true;
  }));
  registry.Remove(name);
}

TEST_F(RegistryTest, VmDetachedByHandIsShownAndKeptOutUntilItIsAttached) {
  Add("alpha");
  ASSERT_TRUE(registry_.SetLimit("alpha", 64 * kMiB, kCaller).ok());
  ASSERT_TRUE(registry_.Detach("alpha", kCaller).ok());
  EXPECT_FALSE(registry_.CheckMayAttach("alpha", getpid()).ok()) << "not while it is going, either";
  LetGo(registry_, "alpha");
  registry_.NoteDetached("alpha");
  EXPECT_EQ(registry_.Status().detached_vms, 0u) << "nothing is wrong with it";
  EXPECT_EQ(Names(), std::vector<std::string>{"alpha"});
  EXPECT_EQ(registry_.Vm("alpha")->state, "detached");
  EXPECT_EQ(registry_.Status().vms, 0u);
  EXPECT_EQ(registry_.SwapIn("alpha", kCaller).code(), absl::StatusCode::kFailedPrecondition);
  const absl::Status kept_out = registry_.CheckMayAttach("alpha", getpid());
  EXPECT_NE(kept_out.message().find("ebbctl attach alpha"), std::string::npos) << kept_out;
  EXPECT_TRUE(registry_.CheckMayAttach("alpha", getpid() + 1).ok()) << "a VM started afresh";

  ASSERT_TRUE(registry_.Attach("alpha", kCaller).ok());
  EXPECT_TRUE(registry_.CheckMayAttach("alpha", getpid()).ok());
  Add("alpha");
  EXPECT_EQ(registry_.Vm("alpha")->state, "running");
  EXPECT_EQ(registry_.Vm("alpha")->limit_bytes, 64 * kMiB) << "the limit it had";
  EXPECT_TRUE(registry_.CheckMayAttach("alpha", getpid()).ok());
}

TEST_F(RegistryTest, AttachSaysWhyNot) {
  EXPECT_EQ(registry_.Attach("ghost", kCaller).code(), absl::StatusCode::kNotFound);
  Add("alpha");
  EXPECT_EQ(registry_.Attach("alpha", kCaller).message(), "alpha is attached already");
  ASSERT_TRUE(registry_.Detach("alpha", kCaller).ok());
  EXPECT_NE(registry_.Attach("alpha", kCaller).message().find("is being detached"),
            std::string::npos);
  registry_.CancelDetach("alpha");
  EXPECT_TRUE(registry_.CheckMayAttach("alpha", getpid()).ok());
}

TEST_F(RegistryTest, VmWhoseRamHasChangedMayReturnAtOnceWithTheLimitItHas) {
  Add("alpha");
  ASSERT_TRUE(registry_.SetLimit("alpha", 64 * kMiB, kCaller).ok());
  registry_.Reattach(*registry_.All()[0], "it has more");
  ASSERT_TRUE(registry_.SetLimit("alpha", 96 * kMiB, kCaller).ok()) << "while it is on its way";
  EXPECT_TRUE(registry_.CheckMayAttach("alpha", getpid()).ok());
  LetGo(registry_, "alpha");
  registry_.NoteDetached("alpha");
  EXPECT_EQ(registry_.Status().detached_vms, 0u) << "nothing is wrong with it";
  EXPECT_NE(registry_.SwapIn("alpha", kCaller).message().find("about to be attached again"),
            std::string::npos);
  Add("alpha");
  EXPECT_EQ(registry_.Vm("alpha")->limit_bytes, 96 * kMiB);
}

TEST_F(RegistryTest, VmDetachedByHandStaysAwayAlthoughItsRamHasChanged) {
  Add("alpha");
  registry_.Reattach(*registry_.All()[0], "it has more");
  ASSERT_TRUE(registry_.Detach("alpha", kCaller).ok());
  EXPECT_FALSE(registry_.CheckMayAttach("alpha", getpid()).ok());
  registry_.Reattach(*registry_.All()[0], "it has more");
  EXPECT_FALSE(registry_.CheckMayAttach("alpha", getpid()).ok());
}

TEST_F(RegistryTest, DetachedVmWhoseQemuExitsIsForgotten) {
  ChildProcess qemu([] {});
  auto running = RunningVm::Start("alpha", 16, 16, qemu.pid());
  registry_.Add(running.vm);
  ASSERT_TRUE(registry_.Detach("alpha", kCaller).ok());
  LetGo(registry_, "alpha");
  registry_.ForgetExited();
  EXPECT_EQ(Names().size(), 1u);
  qemu.Kill();
  registry_.ForgetExited();
  EXPECT_EQ(Names().size(), 0u);
}

TEST_F(RegistryTest, StopAndItsRefusalShowInTheStatus) {
  registry_.SetStopping(true);
  EXPECT_EQ(registry_.Status().state, "stopping");
  registry_.SetStopping(false);
  registry_.SetStopRefused("no room");
  EXPECT_EQ(registry_.Status().state, "running");
  EXPECT_EQ(registry_.Status().stop_refused, "no room");
  registry_.NoteDetached("alpha");
  EXPECT_EQ(registry_.Status().detached_vms, 1u);
}

TEST_F(RegistryTest, OrdersThatAreAcceptedAreEventsWithWhoGaveThem) {
  Add("alpha");
  EXPECT_EQ(NewEvents(), std::vector<std::string>{
                             "vm_attached: alpha is attached: 0 MiB of RAM, QEMU is process " +
                             std::to_string(getpid())});
  testing::internal::CaptureStderr();
  ASSERT_TRUE(registry_.SetLimit("alpha", 64 * kMiB, kCaller).ok());
  ASSERT_TRUE(registry_.SetLimit("alpha", 0, kCaller).ok());
  ASSERT_TRUE(registry_.SwapOut("alpha", 32 * kMiB, kCaller).ok());
  ASSERT_TRUE(registry_.SwapIn("alpha", kCaller).ok());
  ASSERT_TRUE(registry_.Detach("alpha", kCaller).ok());
  const std::string log = testing::internal::GetCapturedStderr();
  const std::vector<std::string> expected = {
      "limit_changed: alpha has a limit of 64 MiB (before: no limit), set by uid 1000, process "
      "4242",
      "limit_changed: alpha has no limit (before: a limit of 64 MiB), set by uid 1000, process "
      "4242",
      "swap_out_asked: alpha is to be swapped out once, down to 32 MiB, asked for by uid 1000, "
      "process 4242",
      "swap_in_asked: alpha is to be swapped in, asked for by uid 1000, process 4242",
      "detach_asked: alpha is to be detached, asked for by uid 1000, process 4242; to let it "
      "return: ebbctl attach alpha",
      "detach_begun: alpha gets all of its memory back, and is let go then: asked for by uid 1000, "
      "process 4242"};
  EXPECT_EQ(NewEvents(), expected);
  for (size_t i = 0; i + 1 < expected.size(); ++i) {
    const std::string message = expected[i].substr(expected[i].find(": ") + 2);
    EXPECT_NE(log.find("info vm alpha: " + message + "\n"), std::string::npos) << log;
  }
  LetGo(registry_, "alpha");
  ASSERT_TRUE(registry_.Attach("alpha", kCaller).ok());
  EXPECT_EQ(NewEvents(), std::vector<std::string>{
                             "attach_asked: alpha may return, asked for by uid 1000, process 4242; "
                             "its library asks within 30 s"});
}

TEST_F(RegistryTest, OrdersThatAreRefusedAreNoEvents) {
  Add("alpha");
  NewEvents();
  EXPECT_FALSE(registry_.SetLimit("alpha", 1, kCaller).ok());
  EXPECT_FALSE(registry_.SwapOut("alpha", 1, kCaller).ok());
  EXPECT_FALSE(registry_.Attach("alpha", kCaller).ok());
  EXPECT_FALSE(registry_.SwapIn("ghost", kCaller).ok());
  EXPECT_EQ(NewEvents(), std::vector<std::string>{});
}

TEST_F(RegistryTest, DetachIsBegunOnceAndKeepsItsReason) {
  Add("alpha");
  NewEvents();
  const auto vm = registry_.All()[0];
  registry_.BeginDetach(*vm, "it burns");
  registry_.BeginDetach(*vm, "ebbd is stopping");
  EXPECT_EQ(NewEvents(),
            std::vector<std::string>{
                "detach_begun: alpha gets all of its memory back, and is let go then: it burns"});
  EXPECT_EQ(vm->detach_reason(), "it burns");
}

TEST_F(RegistryTest, HeldVmIsNoticedOnceAndWhenItNoLongerIs) {
  const auto running = RunningVm::Start("alpha", BytesToPages(64 * kMiB), BytesToPages(64 * kMiB));
  registry_.Add(running.vm);
  NewEvents();
  registry_.LookForHeld(0);
  EXPECT_EQ(NewEvents(), std::vector<std::string>{});
  ASSERT_TRUE(running.vm->SwapOut(32 * kMiB).ok());
  ASSERT_TRUE(running.WaitForResident(BytesToPages(32 * kMiB)));
  ASSERT_TRUE(WaitUntil([&] { return running.vm->Status().swap_out_target_bytes == 0; }));
  uint64_t lost = 0;
  while (!running.memory->Look({lost}).hole) ++lost;
  running.memory->WriteBehindTheBack({lost}, FilledWith(std::byte{0x66}));
  running.memory->WriteProtect({{lost}, 1});
  running.memory->StartWrite({lost}, std::byte{1});
  ASSERT_TRUE(WaitUntil([&] { return running.vm->held_pages() == 1; }));
  registry_.LookForHeld(kNsPerS);
  registry_.LookForHeld(2 * kNsPerS);
  const std::vector<std::string> held = NewEvents();
  ASSERT_EQ(held.size(), 1u);
  EXPECT_EQ(held[0].substr(0, 23), "vm_held: alpha is held:") << held[0];
  EXPECT_NE(held[0].find("ebbctl show alpha"), std::string::npos) << held[0];

  // What is there is right again: the next try finds it, sooner or later.
  running.memory->WriteBehindTheBack({lost}, VmPages::ContentOf(lost));
  ASSERT_TRUE(WaitUntil([&] { return running.vm->Status().pages_swapped_in == 1; }));
  registry_.LookForHeld(3 * kNsPerS);
  EXPECT_EQ(NewEvents(), std::vector<std::string>{}) << "it may be between two tries";
  registry_.LookForHeld(4 * kNsPerS);
  const std::vector<std::string> free = NewEvents();
  ASSERT_EQ(free.size(), 1u);
  EXPECT_EQ(free[0].substr(0, 18), "vm_no_longer_held:") << free[0];
}

// A VM that goes while somebody looks at it lives until the look is over.
TEST_F(RegistryTest, VmsComeAndGoWhileOthersLook) {
  std::atomic<bool> over{false};
  std::jthread looker([&] {
    while (!over) {
      for (const VmStatus& status : registry_.Vms()) EXPECT_EQ(status.ram_bytes, PagesToBytes(16));
    }
  });
  for (int i = 0; i < 20; ++i) {
    Add("alpha");
    registry_.Remove("alpha");
  }
  over = true;
}

}  // namespace
}  // namespace ebb
