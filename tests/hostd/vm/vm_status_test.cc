// SPDX-License-Identifier: MIT
#include <gtest/gtest.h>
#include <unistd.h>

#include "hostd/tiers/disk/open_tier_disk.h"
#include "hostd/vm/tier_status.h"
#include "tests/hostd/os/temporary_folder.h"
#include "tests/hostd/vm/running_vm.h"

namespace ebb {
namespace {

constexpr uint64_t kPages = BytesToPages(64 * kMiB);
constexpr uint64_t kHalf = 32 * kMiB;

TEST(VmStatus, FreshVmShowsItsRamAndNothingElse) {
  const RunningVm running = RunningVm::Start("vm1", kPages, 1000);
  const VmStatus status = running.vm->Status();
  EXPECT_EQ(status.name, "vm1");
  EXPECT_EQ(status.pid, getpid());
  EXPECT_EQ(status.state, "running");
  EXPECT_EQ(status.held_reason, "");
  EXPECT_EQ(status.ram_bytes, 64 * kMiB);
  EXPECT_EQ(status.resident_bytes, PagesToBytes(1000));
  EXPECT_EQ(status.limit_bytes, 0u);
  EXPECT_EQ(status.swapped_bytes, 0u);
  EXPECT_EQ(status.pool_used_bytes, 0u);
  EXPECT_GE(status.page_word_bytes, kPages * 8);
  EXPECT_GE(status.record_bytes, kPages * 16);
  EXPECT_EQ(status.barrier_mode, "fake");
}

TEST(VmStatus, LimitAndWhatItBringsAboutAddUp) {
  const RunningVm running = RunningVm::Start("vm1", kPages, kPages);
  ASSERT_TRUE(running.vm->entitlement().SetLimit(kHalf).ok());
  ASSERT_TRUE(running.WaitForResident(BytesToPages(kHalf)));
  VmStatus status;
  // Counters are read one by one while the VM runs: at a quiet moment they fit.
  EXPECT_TRUE(WaitUntil([&] {
    status = running.vm->Status();
    return status.resident_bytes + status.swapped_bytes == status.ram_bytes &&
           status.pool_original_bytes == status.swapped_bytes &&
           PagesToBytes(status.pages_swapped_out) == status.swapped_bytes;
  }));
  EXPECT_EQ(status.limit_bytes, kHalf);
  EXPECT_LE(status.resident_bytes, kHalf);
  EXPECT_GT(status.pool_compressed_bytes, 0u);
  EXPECT_LT(status.pool_compressed_bytes, status.pool_original_bytes);
  EXPECT_GE(status.pool_used_bytes, status.pool_compressed_bytes);
  EXPECT_GT(status.reserve_target_pages, 0u);
  EXPECT_GT(status.barriers, 0u);
}

TEST(VmStatus, FaultsAndSwapInsAreCounted) {
  const RunningVm running = RunningVm::Start("vm1", kPages, kPages);
  ASSERT_TRUE(running.vm->SwapOut(kHalf).ok());
  ASSERT_TRUE(running.WaitForResident(BytesToPages(kHalf)));
  ASSERT_TRUE(WaitUntil([&] { return running.vm->Status().swap_out_target_bytes == 0; }));
  uint64_t swapped = 0;
  while (!running.memory->Look({swapped}).hole) ++swapped;
  const auto thread = running.memory->StartRead({swapped});
  ASSERT_TRUE(WaitUntil([&] { return !running.memory->Blocked(thread); }));
  EXPECT_TRUE(WaitUntil([&] { return running.vm->Status().fault_p50_us > 0; }));
  const VmStatus status = running.vm->Status();
  EXPECT_EQ(status.faults, 1u);
  EXPECT_EQ(status.zero_faults, 0u);
  EXPECT_EQ(status.pages_swapped_in, 1u);
  EXPECT_GE(status.fault_p99_us, status.fault_p50_us);
}

TEST(VmStatus, RunningSwapOutAndSwapInShowTheirProgress) {
  const RunningVm running = RunningVm::Start("vm1", kPages, kPages);
  ASSERT_TRUE(running.vm->SwapOut(kHalf).ok());
  EXPECT_EQ(running.vm->Status().swap_out_target_bytes, kHalf);
  ASSERT_TRUE(running.WaitForResident(BytesToPages(kHalf)));
  ASSERT_TRUE(WaitUntil([&] { return running.vm->Status().swap_out_target_bytes == 0; }));
  running.memory->FailNext(GuestOp::kFill, OsResult::kRetry, 300);  // holds it up for a while
  ASSERT_TRUE(running.vm->SwapIn().ok());
  EXPECT_GT(running.vm->Status().swap_in_remaining_bytes, 0u);
  EXPECT_TRUE(WaitUntil([&] { return running.vm->Status().swap_in_remaining_bytes == 0; }));
  EXPECT_EQ(running.vm->Status().swapped_bytes, 0u);
}

TEST(VmStatus, VmWithALostPageIsHeldAndSaysWhy) {
  const RunningVm running = RunningVm::Start("vm1", kPages, kPages);
  ASSERT_TRUE(running.vm->SwapOut(kHalf).ok());
  ASSERT_TRUE(running.WaitForResident(BytesToPages(kHalf)));
  ASSERT_TRUE(WaitUntil([&] { return running.vm->Status().swap_out_target_bytes == 0; }));
  uint64_t swapped = 0;
  while (!running.memory->Look({swapped}).hole) ++swapped;
  running.memory->WriteBehindTheBack({swapped}, FilledWith(std::byte{0x66}));
  running.memory->WriteProtect({{swapped}, 1});
  running.memory->StartWrite({swapped}, std::byte{1});
  ASSERT_TRUE(WaitUntil([&] { return running.vm->Status().held_pages == 1; }));
  const VmStatus status = running.vm->Status();
  EXPECT_EQ(status.state, "held");
  EXPECT_NE(status.held_reason.find("another process wrote to it"), std::string::npos)
      << status.held_reason;
}

// A VM whose pool is too small, with a real disk.
class VmStatusOnDiskTest : public testing::Test {
 protected:
  static constexpr uint64_t kSwapped = BytesToPages(kHalf);

  void SetUp() override {
    auto disk = OpenTierDisk(folder_.File("disk"), 64 * kMiB);
    ASSERT_TRUE(disk.ok()) << disk.status();
    tier_ = std::make_unique<DiskTier>(folder_.File("disk"), *std::move(disk));
    running_ = RunningVm::Start("vm1", kPages, kPages, getpid(), {&pool_, tier_.get()});
    ASSERT_NE(running_.vm, nullptr);
  }
  VmStatus Status() const { return running_.vm->Status(); }
  // Each page that is swapped out is in one place, at a quiet moment.
  bool AddsUp(const VmStatus& status) const {
    return status.disk_bytes > 0 && status.pool_original_bytes + status.disk_bytes +
                                            PagesToBytes(status.same_filled_pages) ==
                                        status.swapped_bytes;
  }

  TemporaryFolder folder_{kFolderOnDisk};
  PoolBudget pool_{kMiB};
  std::unique_ptr<DiskTier> tier_;
  RunningVm running_;  // goes first
};

TEST_F(VmStatusOnDiskTest, WhatIsOnTheDiskIsNotInThePool) {
  ASSERT_TRUE(running_.vm->entitlement().SetLimit(kHalf).ok());
  ASSERT_TRUE(running_.WaitForResident(kSwapped));
  VmStatus status;
  EXPECT_TRUE(WaitUntil([&] { return AddsUp(status = Status()); }))
      << status.pool_original_bytes << " " << status.disk_bytes << " " << status.swapped_bytes;
  EXPECT_LE(status.pool_used_bytes, kMiB);
  EXPECT_GT(status.disk_used_bytes, 0u);
  EXPECT_LT(status.disk_used_bytes, status.disk_bytes) << "it is compressed there, too";
  EXPECT_GE(PagesToBytes(status.pages_written_back), status.disk_bytes);
  const TierStatus disk = StatusOf(&pool_, tier_.get(), {status}, MonotonicNs())[1];
  EXPECT_EQ(disk.state, "ok") << disk.message;
  EXPECT_GT(disk.written_blocks, 0u);
  EXPECT_GE(disk.taken_bytes, status.disk_used_bytes);
}

TEST_F(VmStatusOnDiskTest, PoolGrowsNoFurtherThanItsShareSoThatTheRestCostsNothing) {
  const BudgetSignals signals = running_.vm->Signals();
  EXPECT_EQ(signals.most_pool, pool_.Share(kPages));
  EXPECT_LE(signals.most_pool, kMiB);
  const RunningVm without = RunningVm::Start("vm2", 16, 16, getpid(), {&pool_, nullptr});
  EXPECT_EQ(without.vm->Signals().most_pool, UINT64_MAX) << "there the rest stays resident";
}

TEST_F(VmStatusOnDiskTest, WhatComesBackLeavesNothingThere) {
  ASSERT_TRUE(running_.vm->SwapOut(kHalf).ok());
  ASSERT_TRUE(WaitUntil([&] { return Status().disk_bytes > 0; }));
  ASSERT_TRUE(WaitUntil([&] { return Status().swap_out_target_bytes == 0; }));
  ASSERT_TRUE(running_.vm->SwapIn().ok());
  EXPECT_TRUE(WaitUntil([&] {
    const VmStatus status = Status();
    return status.swapped_bytes == 0 && status.disk_bytes == 0 && status.disk_used_bytes == 0;
  }));
  EXPECT_GT(tier_->stats(MonotonicNs()).reads, 0u);
}

TEST(VmStatus, DetachingVmSaysSo) {
  const RunningVm running = RunningVm::Start("vm1", 16, 16);
  running.vm->Detach("of a test");
  EXPECT_EQ(running.vm->Status().state, "detaching");
  ASSERT_TRUE(running.WaitForState(Vm::State::kDetached));
  EXPECT_EQ(running.vm->Status().state, "detaching") << "until the library has let go";
}

}  // namespace
}  // namespace ebb
