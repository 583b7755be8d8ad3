// SPDX-License-Identifier: MIT
#include "hostd/os/process.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <vector>

#include "hostd/os/wake_event.h"
#include "tests/hostd/os/child_process.h"
#include "tests/hostd/os/memfd.h"
#include "tests/hostd/os/temporary_folder.h"

namespace ebb {
namespace {

void* Map(int fd, uint64_t pages, int protection, int flags, uint64_t first_page = 0) {
  return mmap(nullptr, PagesToBytes(pages), protection, flags, fd,
              static_cast<off_t>(PagesToBytes(first_page)));
}

// The pid of a process that has ended and been reaped.
int GonePid() {
  ChildProcess child([] {});
  const int pid = child.pid();
  child.Kill();
  return pid;
}

TEST(CommandLine, ArgumentsComeOneByOneAndUnchanged) {
  const ChildProcess child(std::vector<std::string>{"qemu", "-name", "my vm", "", "-incoming"});
  ASSERT_GT(child.pid(), 0);
  EXPECT_EQ(CommandLine(child.pid()).value(),
            (std::vector<std::string>{"/bin/sh", "-c", "read line", "qemu", "-name", "my vm", "",
                                      "-incoming"}));
}

TEST(Process, SaysSoOfAProcessThatIsGone) {
  const int pid = GonePid();
  EXPECT_TRUE(absl::IsNotFound(CommandLine(pid).status()));
  EXPECT_TRUE(absl::IsNotFound(OpenFiles(pid).status()));
  EXPECT_TRUE(absl::IsNotFound(StatusBytes(pid, "VmRSS").status()));
  EXPECT_TRUE(absl::IsNotFound(MemoryMap(pid).status()));
  EXPECT_FALSE(HugePagesForbidden(pid, {1, 1}));
  EXPECT_FALSE(CgroupSwapMax(pid));
  EXPECT_FALSE(OpenPidfd(pid).ok());
}

TEST(OpenPidfd, BecomesReadableWhenTheProcessEnds) {
  ChildProcess child([] {});
  const auto pidfd = OpenPidfd(child.pid());
  ASSERT_TRUE(pidfd.ok()) << pidfd.status();
  EXPECT_FALSE(IsReadable(pidfd->get()));
  child.Kill();
  EXPECT_TRUE(IsReadable(pidfd->get()));
}

TEST(OpenFiles, NamesWhatAProcessHasOpen) {
  const TemporaryFolder folder;
  const std::string path = folder.File("disk image");
  const ChildProcess child([&] { open(path.c_str(), O_CREAT | O_RDWR, 0600); });
  const std::vector<std::string> files = OpenFiles(child.pid()).value();
  EXPECT_NE(std::find(files.begin(), files.end(), path), files.end());
}

TEST(StatusBytes, ReadsAFieldInBytes) {
  const ChildProcess child([] {
    void* memory = Map(-1, 256, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
    // Not mlock(), of which sanitizers make nothing.
    if (syscall(SYS_mlock, memory, PagesToBytes(256)) != 0) _exit(1);
  });
  ASSERT_GT(child.pid(), 0);
  EXPECT_EQ(StatusBytes(child.pid(), "VmLck").value(), PagesToBytes(256));
  EXPECT_EQ(StatusBytes(child.pid(), "VmPin").value(), 0u);
  EXPECT_FALSE(StatusBytes(child.pid(), "Vm").ok());
  EXPECT_FALSE(StatusBytes(child.pid(), "NoSuchField").ok());
}

TEST(MemoryMap, DescribesAMappingAsItIs) {
  const UniqueFd memfd = MakeMemfd(8);
  void* shared = Map(memfd.get(), 3, PROT_READ | PROT_WRITE, MAP_SHARED, 2);
  void* read_only = Map(memfd.get(), 1, PROT_READ, MAP_SHARED);
  void* own = Map(memfd.get(), 1, PROT_READ | PROT_WRITE, MAP_PRIVATE);
  const auto find = [&](void* address) {
    const auto vmas = MemoryMap(getpid());
    EXPECT_TRUE(vmas.ok()) << vmas.status();
    for (const Vma& vma : *vmas) {
      if (vma.start.value == reinterpret_cast<uint64_t>(address)) return vma;
    }
    ADD_FAILURE() << "not found";
    return Vma{};
  };
  const Vma vma = find(shared);
  EXPECT_EQ(vma.end.value - vma.start.value, PagesToBytes(3));
  EXPECT_EQ(vma.file_offset, PagesToBytes(2));
  EXPECT_EQ(vma.file, FileOf(memfd.get()));
  EXPECT_TRUE(vma.shared && vma.writable);
  EXPECT_TRUE(find(read_only).shared);
  EXPECT_FALSE(find(read_only).writable);
  EXPECT_FALSE(find(own).shared);
  EXPECT_FALSE(find(shared).is_ram);
  const UniqueFd ram(memfd_create("memory-backend-memfd", MFD_CLOEXEC));
  ASSERT_EQ(ftruncate(ram.get(), kPageBytes), 0);
  void* of_ram = Map(ram.get(), 1, PROT_READ, MAP_SHARED);
  EXPECT_TRUE(find(of_ram).is_ram);
  munmap(of_ram, kPageBytes);
  munmap(shared, PagesToBytes(3));
  munmap(read_only, kPageBytes);
  munmap(own, kPageBytes);
}

TEST(HugePagesForbidden, IsTrueWhereEveryMappingOfTheFileSaysSo) {
  const UniqueFd memfd = MakeMemfd(4);
  const FileId file = FileOf(memfd.get());
  EXPECT_FALSE(HugePagesForbidden(getpid(), file)) << "not even mapped";
  void* first = Map(memfd.get(), 2, PROT_READ | PROT_WRITE, MAP_SHARED);
  EXPECT_FALSE(HugePagesForbidden(getpid(), file));
  ASSERT_EQ(madvise(first, PagesToBytes(2), MADV_NOHUGEPAGE), 0);
  EXPECT_TRUE(HugePagesForbidden(getpid(), file));
  void* second = Map(memfd.get(), 2, PROT_READ | PROT_WRITE, MAP_SHARED, 2);
  EXPECT_FALSE(HugePagesForbidden(getpid(), file)) << "half of it may still be huge";
  munmap(first, PagesToBytes(2));
  munmap(second, PagesToBytes(2));
}

TEST(Host, AvailableMemoryIsLessThanAllOfIt) {
  const uint64_t all =
      static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  EXPECT_GT(HostAvailableBytes(), kMiB);
  EXPECT_LE(HostAvailableBytes(), HostTotalBytes());
  EXPECT_LE(HostTotalBytes(), all);
}

TEST(Host, SwapIsOnExactlyWhenProcSaysSo) {
  const std::string swaps = ReadFile("/proc/swaps").value_or("");
  EXPECT_EQ(HostSwaps(), std::count(swaps.begin(), swaps.end(), '\n') > 1);
}

TEST(Host, KernelReleaseIsThatOfUname) {
  utsname name;
  ASSERT_EQ(uname(&name), 0);
  EXPECT_EQ(KernelRelease(), name.release);
}

TEST(ReadFile, FileThatIsNotThereGivesNothing) {
  EXPECT_FALSE(ReadFile("/proc/self/no-such-file"));
  EXPECT_EQ(ReadFile("/dev/null"), "");
}

}  // namespace
}  // namespace ebb
