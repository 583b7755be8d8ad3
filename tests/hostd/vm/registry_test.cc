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

class RegistryTest : public testing::Test {
 protected:
  void Add(const std::string& name) { registry_.Add(RunningVm::Start(name, 16, 16).vm); }
  std::vector<std::string> Names() {
    std::vector<std::string> names;
    for (const VmStatus& status : registry_.Vms()) names.push_back(status.name);
    return names;
  }

  Registry registry_{"1.2.3", MonotonicNs()};
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
       {registry_.Vm("ghost").status(), registry_.SetLimit("ghost", 0),
        registry_.SwapOut("ghost", 64 * kMiB), registry_.SwapIn("ghost"), registry_.Detach("ghost"),
        registry_.Attach("ghost")}) {
    EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
    EXPECT_NE(status.message().find("ghost"), std::string::npos);
  }
}

TEST_F(RegistryTest, RequestsReachTheVmThatIsNamed) {
  Add("alpha");
  Add("beta");
  ASSERT_TRUE(registry_.SetLimit("beta", 64 * kMiB).ok());
  EXPECT_EQ(registry_.Vm("beta")->limit_bytes, 64 * kMiB);
  EXPECT_EQ(registry_.Vm("alpha")->limit_bytes, 0u);
  ASSERT_TRUE(registry_.SetLimit("beta", 0).ok());
  EXPECT_EQ(registry_.Vm("beta")->limit_bytes, 0u);
}

TEST_F(RegistryTest, RefusalsOfTheVmComeThrough) {
  Add("alpha");
  EXPECT_EQ(registry_.SetLimit("alpha", 1).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(registry_.SwapOut("alpha", 1).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(registry_.SwapIn("alpha").ok());
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
  ASSERT_TRUE(registry_.SetLimit("alpha", 64 * kMiB).ok());
  ASSERT_TRUE(registry_.Detach("alpha").ok());
  EXPECT_FALSE(registry_.CheckMayAttach("alpha", getpid()).ok()) << "not while it is going, either";
  LetGo(registry_, "alpha");
  registry_.NoteDetached("alpha");
  EXPECT_EQ(registry_.Status().detached_vms, 0u) << "nothing is wrong with it";
  EXPECT_EQ(Names(), std::vector<std::string>{"alpha"});
  EXPECT_EQ(registry_.Vm("alpha")->state, "detached");
  EXPECT_EQ(registry_.Status().vms, 0u);
  EXPECT_EQ(registry_.SwapIn("alpha").code(), absl::StatusCode::kFailedPrecondition);
  const absl::Status kept_out = registry_.CheckMayAttach("alpha", getpid());
  EXPECT_NE(kept_out.message().find("ebbctl attach alpha"), std::string::npos) << kept_out;
  EXPECT_TRUE(registry_.CheckMayAttach("alpha", getpid() + 1).ok()) << "a VM started afresh";

  ASSERT_TRUE(registry_.Attach("alpha").ok());
  EXPECT_TRUE(registry_.CheckMayAttach("alpha", getpid()).ok());
  Add("alpha");
  EXPECT_EQ(registry_.Vm("alpha")->state, "running");
  EXPECT_EQ(registry_.Vm("alpha")->limit_bytes, 64 * kMiB) << "the limit it had";
  EXPECT_TRUE(registry_.CheckMayAttach("alpha", getpid()).ok());
}

TEST_F(RegistryTest, AttachSaysWhyNot) {
  EXPECT_EQ(registry_.Attach("ghost").code(), absl::StatusCode::kNotFound);
  Add("alpha");
  EXPECT_EQ(registry_.Attach("alpha").message(), "alpha is attached already");
  ASSERT_TRUE(registry_.Detach("alpha").ok());
  EXPECT_NE(registry_.Attach("alpha").message().find("is being detached"), std::string::npos);
  registry_.CancelDetach("alpha");
  EXPECT_TRUE(registry_.CheckMayAttach("alpha", getpid()).ok());
}

TEST_F(RegistryTest, DetachedVmWhoseQemuExitsIsForgotten) {
  ChildProcess qemu([] {});
  auto running = RunningVm::Start("alpha", 16, 16, qemu.pid());
  registry_.Add(running.vm);
  ASSERT_TRUE(registry_.Detach("alpha").ok());
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
