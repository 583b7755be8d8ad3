// SPDX-License-Identifier: MIT
#include "hostd/vm/vm.h"

#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <thread>

#include "hostd/os/process.h"
#include "tests/hostd/os/child_process.h"
#include "tests/hostd/vm/running_vm.h"

namespace ebb {
namespace {

class VmTest : public testing::Test {
 protected:
  static constexpr uint64_t kPages = BytesToPages(64 * kMiB);
  static constexpr uint64_t kHalf = 32 * kMiB;

  void ExpectGuestReads(uint64_t page) {
    const auto thread = running_.memory->StartRead({page});
    ASSERT_TRUE(WaitUntil([&] { return !running_.memory->Blocked(thread); })) << page;
    ASSERT_TRUE(running_.memory->ContentRead(thread) == VmPages::ContentOf(page)) << page;
  }
  Vm& vm() { return *running_.vm; }

  RunningVm running_ = RunningVm::Start("vm1", kPages, kPages);
};

TEST_F(VmTest, RunsUntouchedUntilSomethingIsAskedOfIt) {
  EXPECT_EQ(vm().state(), Vm::State::kRunning);
  EXPECT_EQ(vm().ram_bytes(), 64 * kMiB);
  EXPECT_EQ(vm().bytes_to_bring_back(), 0u);
  EXPECT_TRUE(vm().CheckHealthy().ok());
  EXPECT_TRUE(running_.memory->Calls(GuestOp::kRegister).empty());
}

TEST_F(VmTest, LimitBelowTheLeastIsRefusedWithTheLeast) {
  const absl::Status status = vm().entitlement().SetLimit(Entitlement::kMinLimitBytes - 1);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(status.message().find("32 MiB"), std::string::npos) << status;
  EXPECT_EQ(vm().Status().limit_bytes, 0u);
}

TEST_F(VmTest, SwapOutBelowTheLeastIsRefused) {
  EXPECT_EQ(vm().SwapOut(Entitlement::kMinLimitBytes - 1).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(vm().Status().swap_out_target_bytes, 0u);
}

TEST_F(VmTest, SwapOutBelowItsGuaranteeIsRefused) {
  ASSERT_TRUE(vm().entitlement().SetGuarantee(48 * kMiB).ok());
  const absl::Status refused = vm().SwapOut(47 * kMiB);
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_NE(refused.message().find("48 MiB"), std::string::npos) << refused;
  EXPECT_EQ(vm().Status().swap_out_target_bytes, 0u);
}

TEST_F(VmTest, SwapOutUnderWayHeedsAGuaranteeThatIsGivenMeanwhile) {
  ASSERT_TRUE(vm().SwapOut(32 * kMiB).ok());
  ASSERT_TRUE(vm().entitlement().SetGuarantee(40 * kMiB).ok());
  ASSERT_TRUE(WaitUntil([&] { return vm().Status().swap_out_target_bytes == 0; }));
  EXPECT_GE(running_.memory->ResidentPages(), BytesToPages(40 * kMiB));
  EXPECT_LT(running_.memory->ResidentPages(), BytesToPages(60 * kMiB));
}

TEST_F(VmTest, LimitedVmComesDownBelowItsLimitAndStillReadsItsMemory) {
  ASSERT_TRUE(vm().entitlement().SetLimit(kHalf).ok());
  ASSERT_TRUE(running_.WaitForResident(BytesToPages(kHalf)));
  EXPECT_GT(vm().bytes_to_bring_back(), 0u);
  for (uint64_t page = 0; page < kPages; page += 211) {
    ASSERT_NO_FATAL_FAILURE(ExpectGuestReads(page));
  }
}

TEST_F(VmTest, OneTimeSwapOutReachesItsTargetAndForgetsIt) {
  ASSERT_TRUE(vm().SwapOut(kHalf).ok());
  ASSERT_TRUE(running_.WaitForResident(BytesToPages(kHalf)));
  EXPECT_TRUE(WaitUntil([&] { return vm().Status().swap_out_target_bytes == 0; }));
}

TEST_F(VmTest, SwapOutOfAVmThatHasGrownSinceItWasLookedAtReachesItsTarget) {
  const RunningVm grown = RunningVm::Start("grown", kPages, 10);
  ASSERT_TRUE(WaitUntil([&] { return grown.vm->Status().resident_bytes > 0; }));
  for (uint64_t page = 10; page < kPages; ++page) {
    grown.memory->Populate({page}, VmPages::ContentOf(page));
  }
  ASSERT_TRUE(grown.vm->SwapOut(kHalf).ok());
  EXPECT_TRUE(grown.WaitForResident(BytesToPages(kHalf)));
}

TEST_F(VmTest, SwapInBringsEverythingBackWithoutALimit) {
  ASSERT_TRUE(vm().SwapOut(kHalf).ok());
  ASSERT_TRUE(running_.WaitForResident(BytesToPages(kHalf)));
  ASSERT_TRUE(vm().SwapIn().ok());
  EXPECT_TRUE(WaitUntil([&] { return vm().bytes_to_bring_back() == 0; }));
  EXPECT_EQ(running_.memory->ResidentPages(), kPages);
}

// Reclaim is held in the middle of a pass, long enough for a swap-in to be over.
TEST_F(VmTest, SwapInBringsBackWhatAPassUnderWaySwapsOut) {
  std::atomic<bool> held{false};
  running_.memory->BeforeNext(GuestOp::kRead, [&] {
    EXPECT_TRUE(vm().SwapIn().ok());
    const int64_t until_ns = MonotonicNs() + kNsPerS / 5;
    while (MonotonicNs() < until_ns) std::this_thread::yield();
    held = true;
  });
  ASSERT_TRUE(vm().SwapOut(kHalf).ok());
  ASSERT_TRUE(WaitUntil([&] { return held && vm().Status().pages_swapped_out > 0; }));
  EXPECT_TRUE(WaitUntil([&] { return vm().bytes_to_bring_back() == 0; }));
  EXPECT_TRUE(WaitUntil([&] { return running_.memory->ResidentPages() == kPages; }));
}

TEST_F(VmTest, SwapInStopsASwapOutThatIsUnderWay) {
  ASSERT_TRUE(vm().SwapOut(kHalf).ok());
  ASSERT_TRUE(vm().SwapIn().ok());
  EXPECT_EQ(vm().Status().swap_out_target_bytes, 0u);
}

TEST_F(VmTest, DetachBringsEverythingBackAndUnregisters) {
  ASSERT_TRUE(vm().entitlement().SetLimit(kHalf).ok());
  ASSERT_TRUE(running_.WaitForResident(BytesToPages(kHalf)));
  vm().Detach("of a test");
  ASSERT_TRUE(running_.WaitForState(Vm::State::kDetached));
  EXPECT_EQ(vm().bytes_to_bring_back(), 0u);
  for (uint64_t page = 0; page < kPages; ++page) {
    ASSERT_FALSE(running_.memory->Look({page}).registered) << page;
    ASSERT_TRUE(running_.memory->Content({page}) == VmPages::ContentOf(page)) << page;
  }
}

TEST_F(VmTest, DetachingVmTakesNoMoreRequests) {
  vm().Detach("of a test");
  EXPECT_EQ(vm().SwapOut(kHalf).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(vm().SwapIn().code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(VmTest, SecondDetachOfADetachedVmChangesNothing) {
  vm().Detach("of a test");
  ASSERT_TRUE(running_.WaitForState(Vm::State::kDetached));
  vm().Detach("of a test");
  EXPECT_EQ(vm().state(), Vm::State::kDetached);
}

TEST_F(VmTest, DetachThatFindsNoMemoryFailsAndTheVmRunsOn) {
  ASSERT_TRUE(vm().SwapOut(kHalf).ok());
  ASSERT_TRUE(running_.WaitForResident(BytesToPages(kHalf)));
  running_.memory->FailNext(GuestOp::kFill, OsResult::kNoMemory, 1000);
  vm().Detach("of a test");
  ASSERT_TRUE(running_.WaitForState(Vm::State::kDetachFailed));
  EXPECT_NE(vm().detach_error().find("memory"), std::string::npos) << vm().detach_error();
  vm().ResumeAfterFailedDetach();
  EXPECT_EQ(vm().state(), Vm::State::kRunning);
  EXPECT_GT(vm().bytes_to_bring_back(), 0u);
}

TEST_F(VmTest, FailedDetachKeepsTheLimit) {
  ASSERT_TRUE(vm().entitlement().SetLimit(kHalf).ok());
  ASSERT_TRUE(running_.WaitForResident(BytesToPages(kHalf)));
  running_.memory->FailNext(GuestOp::kFill, OsResult::kNoMemory, 1000);
  vm().Detach("of a test");
  ASSERT_TRUE(running_.WaitForState(Vm::State::kDetachFailed));
  EXPECT_EQ(vm().Status().limit_bytes, kHalf);
}

TEST_F(VmTest, DetachWaitsForAMemoryMapThatChanges) {
  ASSERT_TRUE(vm().SwapOut(kHalf).ok());
  ASSERT_TRUE(running_.WaitForResident(BytesToPages(kHalf)));
  running_.memory->FailNext(GuestOp::kFill, OsResult::kRetry, 20);
  running_.memory->FailNext(GuestOp::kUnregister, OsResult::kRetry, 3);
  vm().Detach("of a test");
  EXPECT_TRUE(running_.WaitForState(Vm::State::kDetached));
}

TEST_F(VmTest, MemoryThatCannotBeFreedMakesItUnhealthy) {
  running_.memory->FailNext(GuestOp::kPunch, OsResult::kFailed, 100000);
  ASSERT_TRUE(vm().SwapOut(kHalf).ok());
  EXPECT_TRUE(WaitUntil([&] { return !vm().CheckHealthy().ok(); }));
  vm().Detach("of a test");
  ASSERT_TRUE(running_.WaitForState(Vm::State::kDetached));
  for (uint64_t page = 0; page < kPages; page += 100) {
    ASSERT_TRUE(running_.memory->Content({page}) == VmPages::ContentOf(page)) << page;
  }
}

// By the reclaim thread: whoever finds the loss must not wait for the log.
TEST_F(VmTest, LostPageIsLoggedOnceWithTheNameOfItsVm) {
  testing::internal::CaptureStderr();
  ASSERT_TRUE(vm().SwapOut(kHalf).ok());
  ASSERT_TRUE(running_.WaitForResident(BytesToPages(kHalf)));
  uint64_t lost = 0;
  while (!running_.memory->Look({lost}).hole) ++lost;
  running_.memory->WriteBehindTheBack({lost}, FilledWith(std::byte{0x66}));
  running_.memory->WriteProtect({{lost}, 1});
  running_.memory->StartWrite({lost}, std::byte{1});
  ASSERT_TRUE(WaitUntil([&] { return vm().Status().held_pages == 1; }));
  running_.vm.reset();
  const std::string log = testing::internal::GetCapturedStderr();
  const std::string line =
      "vm vm1: guest page " + std::to_string(lost) + " is lost: another process";
  const size_t found = log.find(line);
  ASSERT_NE(found, std::string::npos) << log;
  EXPECT_EQ(log.find("is lost", found + line.size()), std::string::npos) << log;
}

TEST_F(VmTest, StateDescriptorsAreThreeAndReadOnly) {
  const auto fds = vm().OpenStateReadOnly();
  ASSERT_TRUE(fds.ok());
  for (const UniqueFd& fd : *fds) EXPECT_LT(write(fd.get(), "x", 1), 0);
}

TEST_F(VmTest, CanBeDestroyedInTheMiddleOfEverything) {
  ASSERT_TRUE(vm().entitlement().SetLimit(kHalf).ok());
  ASSERT_TRUE(WaitUntil([&] { return vm().bytes_to_bring_back() > 0; }));
  running_.memory->SetGone();
  running_.vm.reset();
}

TEST(VmExit, PidfdTellsWhenQemuHasExited) {
  ChildProcess qemu([] {});
  Vm::Parts parts;
  parts.name = "vm1";
  parts.pid = qemu.pid();
  parts.pidfd = *OpenPidfd(qemu.pid());
  parts.memory = std::make_unique<FakeGuestMemory>(16);
  parts.barrier = std::make_unique<FakeIoBarrier>();
  const auto vm = Vm::Start(std::move(parts));
  ASSERT_TRUE(vm.ok());
  EXPECT_FALSE((*vm)->exited());
  qemu.Kill();
  EXPECT_TRUE((*vm)->exited());
}

}  // namespace
}  // namespace ebb
