// SPDX-License-Identifier: MIT
#include "hostd/vm/attach_check.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/io_uring.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "tests/hostd/os/child_process.h"
#include "tests/hostd/os/memfd.h"

namespace ebb {
namespace {

// A process that maps RAM memfds as a QEMU does, at addresses the test chose.
class AttachCheckTest : public testing::Test {
 protected:
  static constexpr uint64_t kPages = 16;

  void SetUp() override {
    AddMemfd();
    // Addresses that are free in every child, too.
    void* reserved = mmap(nullptr, PagesToBytes(4 * kPages), PROT_NONE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    ASSERT_NE(reserved, MAP_FAILED);
    base_ = reinterpret_cast<uint64_t>(reserved);
  }
  void TearDown() override { munmap(At(0), PagesToBytes(4 * kPages)); }

  void AddMemfd(unsigned flags = MFD_ALLOW_SEALING) {
    memfds_.emplace_back(memfd_create("ebb-test", MFD_CLOEXEC | flags));
    ASSERT_EQ(ftruncate(memfds_.back().get(), static_cast<off_t>(PagesToBytes(kPages))), 0);
  }
  void* At(uint64_t page) const { return reinterpret_cast<void*>(base_ + PagesToBytes(page)); }
  // In the child: maps a memfd's pages from `file_page` on at `page`.
  void Map(uint64_t page, uint64_t pages, size_t memfd = 0, uint64_t file_page = 0,
           int protection = PROT_READ | PROT_WRITE, int flags = MAP_SHARED) const {
    if (mmap(At(page), PagesToBytes(pages), protection, flags | MAP_FIXED, memfds_[memfd].get(),
             static_cast<off_t>(PagesToBytes(file_page))) == MAP_FAILED) {
      _exit(1);
    }
  }
  void StartQemu(const std::function<void()>& map) {
    qemu_ = std::make_unique<ChildProcess>(map);
    ASSERT_GT(qemu_->pid(), 0);
  }
  // The usual one: all of the first memfd in one mapping.
  void StartUsualQemu() {
    StartQemu([this] { Map(0, kPages); });
  }
  ClaimedRamBlock Block(uint64_t page = 0, uint64_t pages = kPages, size_t memfd = 0,
                        uint64_t file_page = 0) const {
    return {base_ + PagesToBytes(page), PagesToBytes(pages), PagesToBytes(file_page), memfd};
  }
  absl::StatusOr<VmRam> Check(const std::vector<ClaimedRamBlock>& blocks) {
    return CheckRam(qemu_->pid(), blocks, memfds_);
  }
  void ExpectRefused(const std::vector<ClaimedRamBlock>& blocks, const std::string& why) {
    const auto ram = Check(blocks);
    ASSERT_FALSE(ram.ok());
    EXPECT_NE(ram.status().message().find(why), std::string::npos) << ram.status();
  }

  uint64_t base_ = 0;
  std::vector<UniqueFd> memfds_;
  std::unique_ptr<ChildProcess> qemu_;
};

// ---- What is accepted ---------------------------------------------------------------------------

TEST_F(AttachCheckTest, RamInOneMappingIsAccepted) {
  StartUsualQemu();
  const auto ram = Check({Block()});
  ASSERT_TRUE(ram.ok()) << ram.status();
  EXPECT_EQ(ram->layout.pages(), kPages);
  EXPECT_EQ(ram->layout.Find({3}).hva().value, base_ + PagesToBytes(3));
  EXPECT_EQ(ram->files, std::vector<FileId>{FileOf(memfds_[0].get())});
}

TEST_F(AttachCheckTest, RamInSeveralMemfdsAndMappingsIsAccepted) {
  AddMemfd();
  StartQemu([this] {
    Map(20, 10, 0, 6);
    Map(0, 6, 0);
    Map(40, kPages, 1);
  });
  const auto ram = Check({Block(0, 6), Block(20, 10, 0, 6), Block(40, kPages, 1)});
  ASSERT_TRUE(ram.ok()) << ram.status();
  EXPECT_EQ(ram->layout.pages(), 6 + 10 + kPages);
  EXPECT_EQ(ram->layout.Find({6}).file_offset(), PagesToBytes(6));
  EXPECT_EQ(ram->files.size(), 2u);
}

TEST_F(AttachCheckTest, BlockThatIsPartOfAMappingIsAccepted) {
  StartUsualQemu();
  EXPECT_TRUE(Check({Block(4, 8, 0, 4)}).ok());
}

TEST_F(AttachCheckTest, BlockOverMappingsThatFollowEachOtherIsAccepted) {
  StartQemu([this] {
    Map(0, kPages);
    if (mprotect(At(5), kPageBytes, PROT_READ | PROT_WRITE | PROT_EXEC) != 0) _exit(1);
  });
  EXPECT_TRUE(Check({Block()}).ok());
}

// ---- What the library may not claim -------------------------------------------------------------

TEST_F(AttachCheckTest, NoBlocksAreRefused) {
  StartUsualQemu();
  ExpectRefused({}, "no RAM blocks");
}

TEST_F(AttachCheckTest, MalformedBlocksAreRefused) {
  StartUsualQemu();
  const auto with = [this](auto change) {
    ClaimedRamBlock block = Block();
    change(&block);
    return std::vector<ClaimedRamBlock>{block};
  };
  ExpectRefused(with([](auto* block) { block->hva += 1; }), "malformed");
  ExpectRefused(with([](auto* block) { block->bytes -= 1; }), "malformed");
  ExpectRefused(with([](auto* block) { block->bytes = 0; }), "malformed");
  ExpectRefused(with([](auto* block) { block->file_offset += 512; }), "malformed");
  ExpectRefused(with([](auto* block) { block->memfd = 1; }), "malformed");
  ExpectRefused(with([](auto* block) { block->memfd = SIZE_MAX; }), "malformed");
}

TEST_F(AttachCheckTest, BlocksThatOverflowAreRefused) {
  StartUsualQemu();
  const uint64_t huge = UINT64_MAX - kPageBytes + 1;  // the last page of the address space
  ExpectRefused({{base_, huge, 0, 0}}, "malformed");
  ExpectRefused({{huge, 2 * kPageBytes, 0, 0}}, "malformed");
  ExpectRefused({{base_, 2 * kPageBytes, huge, 0}}, "malformed");
  ExpectRefused({{base_, uint64_t{1} << 62, 0, 0}}, "malformed");
}

TEST_F(AttachCheckTest, BlockPastTheEndOfItsFileIsRefused) {
  StartQemu([this] { Map(0, kPages + 4); });
  ExpectRefused({Block(0, kPages + 1)}, "malformed");
  ExpectRefused({Block(1, kPages, 0, 1)}, "malformed");
}

TEST_F(AttachCheckTest, BlockThatIsNotMappedIsRefused) {
  StartUsualQemu();
  ExpectRefused({Block(30, 4)}, "does not map");
  ExpectRefused({{0x1000, kPageBytes, 0, 0}}, "does not map");
}

TEST_F(AttachCheckTest, BlockWithAHoleInItsMappingIsRefused) {
  StartQemu([this] {
    Map(0, kPages);
    munmap(At(7), kPageBytes);
  });
  ExpectRefused({Block()}, "does not map");
}

TEST_F(AttachCheckTest, BlockThatMapsAnotherFileIsRefused) {
  AddMemfd();
  StartQemu([this] { Map(0, kPages, 1); });
  ExpectRefused({Block()}, "does not map");
}

TEST_F(AttachCheckTest, BlockThatMapsAnotherPartOfTheFileIsRefused) {
  StartQemu([this] { Map(0, 8, 0, 1); });
  ExpectRefused({Block(0, 8)}, "does not map");
}

TEST_F(AttachCheckTest, PrivateMappingIsRefused) {
  StartQemu([this] { Map(0, kPages, 0, 0, PROT_READ | PROT_WRITE, MAP_PRIVATE); });
  ExpectRefused({Block()}, "does not map");
}

TEST_F(AttachCheckTest, ReadOnlyMappingIsRefused) {
  StartQemu([this] { Map(0, kPages, 0, 0, PROT_READ); });
  ExpectRefused({Block()}, "does not map");
}

TEST_F(AttachCheckTest, OverlappingBlocksAreRefused) {
  StartUsualQemu();
  ExpectRefused({Block(0, 8), Block(7, 8, 0, 7)}, "overlap");
  ExpectRefused({Block(), Block()}, "overlap");
}

TEST_F(AttachCheckTest, BlocksThatTouchDoNotOverlap) {
  StartUsualQemu();
  EXPECT_TRUE(Check({Block(8, 8, 0, 8), Block(0, 8)}).ok());
}

TEST_F(AttachCheckTest, PageOfTheFileAtTwoAddressesIsRefused) {
  StartQemu([this] {
    Map(0, kPages);
    Map(20, 4, 0, 12);
  });
  ExpectRefused({Block(), Block(20, 4, 0, 12)}, "mapped twice");
}

// The same memfd sent as two descriptors is one file.
TEST_F(AttachCheckTest, PageOfTheFileAtTwoAddressesIsRefusedByWhateverDescriptor) {
  memfds_.emplace_back(dup(memfds_[0].get()));
  StartQemu([this] {
    Map(0, kPages);
    Map(20, kPages);
  });
  ExpectRefused({Block(), Block(20, kPages, 1)}, "mapped twice");
}

// What QEMU maps a second time without saying so is neither registered nor protected: there
// holes read as zeros, and writes are not seen.
TEST_F(AttachCheckTest, SecondMappingThatIsNotClaimedIsRefused) {
  StartQemu([this] {
    Map(0, kPages);
    Map(20, kPages);
  });
  EXPECT_FALSE(Check({Block()}).ok());
}

TEST_F(AttachCheckTest, ProcessThatIsGoneIsRefused) {
  StartUsualQemu();
  const int pid = qemu_->pid();
  qemu_->Kill();
  EXPECT_FALSE(CheckRam(pid, {Block()}, memfds_).ok());
}

// ---- The memfds ---------------------------------------------------------------------------------

TEST_F(AttachCheckTest, SealedMemfdIsRefused) {
  ASSERT_EQ(fcntl(memfds_[0].get(), F_ADD_SEALS, F_SEAL_FUTURE_WRITE), 0);
  StartQemu([] {});
  ExpectRefused({Block()}, "sealed");
}

TEST_F(AttachCheckTest, DescriptorThatIsNoMemfdIsRefused) {
  memfds_[0] = UniqueFd(open("/dev/zero", O_RDWR | O_CLOEXEC));
  StartQemu([] {});
  ExpectRefused({Block()}, "not a memfd");
}

TEST_F(AttachCheckTest, HugePagesAreRefused) {
  UniqueFd huge(memfd_create("ebb-test", MFD_CLOEXEC | MFD_HUGETLB | MFD_ALLOW_SEALING));
  ASSERT_TRUE(huge.valid()) << "this kernel has no hugetlb";
  ASSERT_EQ(ftruncate(huge.get(), 1 << 30), 0);
  memfds_[0] = std::move(huge);
  StartQemu([] {});
  ExpectRefused({Block()}, "huge pages");
}

TEST_F(AttachCheckTest, ProcessThatHasTheRamOpenIsNamed) {
  StartUsualQemu();
  const ChildProcess other([] {});  // forked with all descriptors
  ExpectRefused({Block()}, "process " + std::to_string(other.pid()) + " has open");
}

// ---- What must stay true ------------------------------------------------------------------------

class StillAllowedTest : public AttachCheckTest {
 protected:
  void SetUp() override {
    AttachCheckTest::SetUp();
    StartUsualQemu();
    ram_ = {RamLayout({{{base_}, kPages, 0, 0}}), {FileOf(memfds_[0].get())}};
  }
  // A QEMU that did this in addition.
  absl::Status CheckQemuThat(const std::function<void()>& did) {
    const ChildProcess qemu([&] {
      Map(0, kPages);
      did();
    });
    EXPECT_GT(qemu.pid(), 0);
    return CheckStillAllowed(qemu.pid(), ram_, {});
  }
  static void ExpectRefusal(const absl::Status& status, const std::string& why) {
    ASSERT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
    EXPECT_NE(status.message().find(why), std::string::npos) << status;
  }

  VmRam ram_;
};

TEST_F(StillAllowedTest, VmOfWhichNothingIsSaidIsFine) {
  const absl::Status status = CheckStillAllowed(qemu_->pid(), ram_, {});
  EXPECT_TRUE(status.ok()) << status;
}

TEST_F(StillAllowedTest, QemuAndEbbdItselfAreNoOthers) {
  const FileId file = ram_.files[0];
  const std::vector<FileUser> ours = {{qemu_->pid(), file}, {getpid(), file}};
  EXPECT_TRUE(CheckStillAllowed(qemu_->pid(), ram_, {ours, ours}).ok());
}

TEST_F(StillAllowedTest, UserOfAnotherVmsRamIsNoConcern) {
  FileId other = ram_.files[0];
  ++other.inode;
  EXPECT_TRUE(CheckStillAllowed(qemu_->pid(), ram_, {{{1, other}}, {{1, other}}}).ok());
}

TEST_F(StillAllowedTest, OtherProcessThatMapsTheRamIsNamed) {
  const ChildProcess virtiofsd([this] {
    Map(0, 1, 0, 3, PROT_READ);
    memfds_.clear();
  });
  ExpectRefusal(CheckStillAllowed(qemu_->pid(), ram_, UsersOf(ram_.files).value()),
                "process " + std::to_string(virtiofsd.pid()) + " maps");
}

TEST_F(StillAllowedTest, OtherProcessThatHasTheRamOpenIsNamed) {
  const ChildProcess virtiofsd([] {});  // forked with all descriptors
  ExpectRefusal(CheckStillAllowed(qemu_->pid(), ram_, UsersOf(ram_.files).value()),
                "process " + std::to_string(virtiofsd.pid()) + " has open");
}

TEST_F(StillAllowedTest, RamThatIsNoLongerMappedIsRefused) {
  const ChildProcess unplugged([] {});
  ExpectRefusal(CheckStillAllowed(unplugged.pid(), ram_, {}), "does not map guest RAM");
}

TEST_F(StillAllowedTest, SecondMappingOfTheRamIsRefused) {
  ExpectRefusal(CheckQemuThat([this] { Map(20, 2, 0, 7); }), "a second time");
}

TEST_F(StillAllowedTest, LockedMemoryIsRefusedWithItsRemedy) {
  const absl::Status status = CheckQemuThat([this] {
    // Not mlock(), of which sanitizers make nothing.
    if (syscall(SYS_mlock, At(0), kPageBytes) != 0) _exit(1);
  });
  ExpectRefusal(status, "4 KiB of memory locked or pinned (VmLck)");
  ExpectRefusal(status, "mem-lock");
}

// As a driver does that keeps a page for its device: here io_uring does.
TEST_F(StillAllowedTest, PinnedMemoryIsRefused) {
  ExpectRefusal(
      CheckQemuThat([this] {
        io_uring_params params = {};
        const auto ring = static_cast<int>(syscall(SYS_io_uring_setup, 4, &params));
        const iovec buffer = {At(2), kPageBytes};
        if (syscall(SYS_io_uring_register, ring, IORING_REGISTER_BUFFERS, &buffer, 1) != 0) {
          _exit(1);
        }
      }),
      "4 KiB of memory locked or pinned (VmPin)");
}

TEST_F(StillAllowedTest, PassedThroughDeviceIsNamed) {
  // No VFIO here; what counts is the name.
  const std::string device = "/dev/vfio-of-an-ebb-test";
  UniqueFd made(open(device.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600));
  ASSERT_TRUE(made.valid()) << "needs root, to make a file in /dev";
  const absl::Status status = CheckQemuThat([&] { open(device.c_str(), O_RDONLY); });
  unlink(device.c_str());
  ExpectRefusal(status, "VFIO");
  ExpectRefusal(status, device);
}

// As an ebbd without CAP_SYS_PTRACE: what ebbd cannot look at may be anything.
TEST_F(StillAllowedTest, ProcessThatMayNotBeLookedAtIsRefused) {
  const ChildProcess stranger([] {});
  const ChildProcess ebbd([this] {
    if (setresuid(65534, 65534, 65534) != 0) _exit(1);
    const absl::Status own = CheckStillAllowed(qemu_->pid(), ram_, {});
    const absl::Status others = UsersOf(ram_.files).status();
    if (own.ok() || absl::IsFailedPrecondition(own)) _exit(2);
    if (others.ok() || !absl::StrContains(others.message(), "may not look at process")) _exit(3);
  });
  EXPECT_GT(ebbd.pid(), 0) << "it took what it could not see for harmless";
}

TEST_F(StillAllowedTest, ProcessWithoutACommandLineIsRefused) {
  ProcessView view;
  view.memory_map = MemoryMap(qemu_->pid()).value();
  EXPECT_EQ(CheckProcess(qemu_->pid(), ram_, view, {}).code(), absl::StatusCode::kUnavailable);
}

// ---- What takes hardware, or would change this host ---------------------------------------------

// What a look at a VM would find, as the test says.
class ProcessViewTest : public StillAllowedTest {
 protected:
  void SetUp() override {
    StillAllowedTest::SetUp();
    host_ = {};
    view_ = LookAtProcess(qemu_->pid(), ram_.files, host_).value();
    ASSERT_TRUE(Found().ok()) << Found();
  }
  absl::Status Found() const { return CheckProcess(qemu_->pid(), ram_, view_, host_); }

  HostView host_;
  ProcessView view_;
};

TEST_F(ProcessViewTest, EveryDeviceThatReachesGuestRamUnseenIsNamed) {
  for (const char* device :
       {"/dev/vfio/12", "/dev/vfio/devices/vfio0", "/dev/iommu", "/dev/vhost-vdpa-0",
        "/dev/vhost-scsi", "/dev/udmabuf", "/dev/infiniband/uverbs0", "/dev/sev",
        "anon_inode:[kvm-gmem]", "/memfd:/rom@etc/acpi/tables (deleted)", "/memfd:pc.rom (deleted)",
        "/memfd:pc.bios (deleted)"}) {
    view_.open_files.push_back(device);
    ExpectRefusal(Found(), std::string("(open: ") + device + ")");
    view_.open_files.pop_back();
  }
}

// It could hand its memory to another QEMU behind our back (CPR).
TEST_F(ProcessViewTest, QemuThatSharesAllOfItsRamIsRefused) {
  const std::vector<std::string> usual = view_.command_line;
  for (const char* machine :
       {"q35,aux-ram-share=on", "aux-ram-share=true,q35", "q35,aux-ram-share=off,aux-ram-share=on",
        "q35,aux-ram-share", R"({"type": "q35", "aux-ram-share": true})"}) {
    view_.command_line = usual;
    view_.command_line.push_back(machine);
    ExpectRefusal(Found(), "another QEMU (aux-ram-share=on");
  }
  view_.command_line = usual;
  view_.command_line.push_back("q35,aux-ram-share=off,smm=off");
  EXPECT_TRUE(Found().ok()) << Found();
}

// cpr-exec came with 10.2.
TEST(CannotExec, QemuThatKnowsCprExecNeedsASandboxThatForbidsIt) {
  constexpr uint32_t k10_1 = 10 << 16 | 1 << 8 | 5;
  constexpr uint32_t k10_2 = 10 << 16 | 2 << 8;
  EXPECT_TRUE(CheckCannotExec(k10_1, {"qemu"}).ok());
  for (const uint32_t version : {k10_2, uint32_t{11 << 16}, uint32_t{0}}) {
    EXPECT_TRUE(CheckCannotExec(version, {"qemu", "-sandbox", "on,spawn=deny"}).ok());
    EXPECT_TRUE(CheckCannotExec(version, {"--sandbox", "enable=on,obsolete=deny,spawn=deny"}).ok());
    for (const std::vector<std::string>& arguments : {std::vector<std::string>{"qemu"},
                                                      {"qemu", "-sandbox"},
                                                      {"qemu", "-sandbox", "on"},
                                                      {"qemu", "-sandbox", "off,spawn=deny"},
                                                      {"qemu", "-sandbox", "on,spawn=allow"},
                                                      {"qemu", "-name", "on,spawn=deny"}}) {
      const absl::Status status = CheckCannotExec(version, arguments);
      EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
      EXPECT_TRUE(absl::StrContains(status.message(), "-sandbox on,spawn=deny")) << status;
    }
  }
  EXPECT_TRUE(absl::StrContains(CheckCannotExec(k10_2, {}).message(), "QEMU 10.2 "));
  EXPECT_TRUE(absl::StrContains(CheckCannotExec(0, {}).message(), "unknown version"));
}

TEST_F(ProcessViewTest, DevicesThatAreSafeAreAllowed) {
  for (const char* device :
       {"/dev/kvm", "/dev/vhost-net", "/dev/vhost-vsock", "/dev/net/tun", "/dev/userfaultfd",
        "anon_inode:[userfaultfd]", "socket:[4711]", "/memfd:memory-backend-memfd (deleted)"}) {
    view_.open_files.push_back(device);
  }
  EXPECT_TRUE(Found().ok()) << Found();
}

TEST_F(ProcessViewTest, NestedGuestsAreRefused) {
  view_.nested_guests = true;
  ExpectRefusal(Found(), "nested guests");
}

TEST_F(ProcessViewTest, KernelSwapIsRefusedUnlessTheVmsCgroupForbidsIt) {
  host_.swaps = true;
  ExpectRefusal(Found(), "swap on");
  view_.swap_max = 4096;
  ExpectRefusal(Found(), "memory.swap.max=0");
  view_.swap_max = 0;
  EXPECT_TRUE(Found().ok()) << Found();
}

TEST_F(ProcessViewTest, ShmemHugePagesAreRefusedUnlessTheLibraryHasExcludedTheRam) {
  host_.shmem_huge_pages = "shmem_enabled=always";
  ExpectRefusal(Found(), "shmem_enabled=always");
  view_.huge_pages_forbidden = true;
  EXPECT_TRUE(Found().ok()) << Found();
  // Which no madvise can exclude.
  host_.shmem_huge_pages = "shmem_enabled=force";
  ExpectRefusal(Found(), "shmem_enabled=force");
}

}  // namespace
}  // namespace ebb
