// SPDX-License-Identifier: MIT
#include "hostd/os/process_view.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "tests/hostd/os/child_process.h"
#include "tests/hostd/os/memfd.h"
#include "tests/hostd/os/temporary_folder.h"

namespace ebb {
namespace {

void Map(int fd, int flags, uint64_t first_page = 0) {
  if (mmap(nullptr, kPageBytes, PROT_READ, flags, fd,
           static_cast<off_t>(PagesToBytes(first_page))) == MAP_FAILED) {
    _exit(1);
  }
}

std::vector<int> PidsOf(const std::vector<FileUser>& users) {
  std::vector<int> pids;
  for (const FileUser& user : users) pids.push_back(user.pid);
  std::sort(pids.begin(), pids.end());
  pids.erase(std::unique(pids.begin(), pids.end()), pids.end());
  return pids;
}

std::vector<FileUser> MappersOf(const std::vector<FileId>& files) {
  return UsersOf(files).value().mappers;
}

TEST(UsersOf, FindsEveryProcessThatMapsAFileShared) {
  const UniqueFd memfd = MakeMemfd(4);
  const UniqueFd other = MakeMemfd(4);
  const ChildProcess mapper([&] { Map(memfd.get(), MAP_SHARED, 3); });
  const ChildProcess bystander([&] { Map(other.get(), MAP_SHARED); });
  const std::vector<FileUser> users = MappersOf({FileOf(memfd.get())});
  EXPECT_EQ(PidsOf(users), std::vector<int>{mapper.pid()});
  EXPECT_EQ(users[0].file, FileOf(memfd.get()));
  EXPECT_EQ(PidsOf(MappersOf({FileOf(memfd.get()), FileOf(other.get())})).size(), 2u);
  EXPECT_TRUE(MappersOf({}).empty());
}

// Each filesystem counts its inodes for itself: a number alone would name strangers.
TEST(UsersOf, FileOfTheSameInodeNumberElsewhereIsAnotherFile) {
  const UniqueFd memfd = MakeMemfd(4);
  const ChildProcess mapper([&] { Map(memfd.get(), MAP_SHARED); });
  FileId elsewhere = FileOf(memfd.get());
  elsewhere.device += 1;
  EXPECT_TRUE(MappersOf({elsewhere}).empty());
}

TEST(UsersOf, FindsPrivateMappingsToo) {
  const UniqueFd memfd = MakeMemfd(4);
  const ChildProcess mapper([&] { Map(memfd.get(), MAP_PRIVATE); });
  EXPECT_EQ(PidsOf(MappersOf({FileOf(memfd.get())})), std::vector<int>{mapper.pid()});
}

TEST(UsersOf, FindsEveryProcessThatHasAFileOpen) {
  UniqueFd memfd = MakeMemfd(4);
  const FileId file = FileOf(memfd.get());
  const ChildProcess holder([] {});  // a fork has its parent's descriptors
  EXPECT_EQ(PidsOf(UsersOf({file}).value().holders).size(), 2u);
  memfd.Reset();
  EXPECT_EQ(PidsOf(UsersOf({file}).value().holders), std::vector<int>{holder.pid()});
}

TEST(LookAtProcess, ProcessThatIsGoneIsNotFound) {
  ChildProcess child([] {});
  const int pid = child.pid();
  child.Kill();
  EXPECT_TRUE(absl::IsNotFound(LookAtProcess(pid, {}, {}).status()));
}

TEST(LookAtProcess, TellsWhatTheKernelTells) {
  const UniqueFd memfd = MakeMemfd(4);
  const ChildProcess child([&] { Map(memfd.get(), MAP_SHARED); });
  const auto view = LookAtProcess(child.pid(), {}, HostView::Look());
  ASSERT_TRUE(view.ok()) << view.status();
  EXPECT_FALSE(view->command_line.empty());
  const FileId file = FileOf(memfd.get());
  EXPECT_TRUE(std::any_of(view->memory_map.begin(), view->memory_map.end(),
                          [&](const Vma& vma) { return vma.file == file; }));
  EXPECT_NE(
      std::find(view->open_files.begin(), view->open_files.end(), "/memfd:ebb-test (deleted)"),
      view->open_files.end());
  EXPECT_EQ(view->pinned_bytes, 0u);
  EXPECT_EQ(view->locked_bytes, 0u);
  EXPECT_FALSE(view->nested_guests) << "it has no KVM";
}

TEST(RunsNestedGuests, WithoutAKvmVmItCannot) {
  EXPECT_FALSE(RunsNestedGuests(getpid(), {"/dev/kvm", "socket:[1]"}).value());
}

// KVM's folder in debugfs, made up: this is how the kernel lays it out.
class NestedGuestsInTest : public testing::Test {
 protected:
  void MakeVm(const std::string& name, const std::string& nested_run) {
    const std::string vm = folder_.File(name);
    std::filesystem::create_directory(vm);
    std::ofstream(vm + "/nested_run") << nested_run << "\n";
  }
  absl::StatusOr<bool> Look(int pid) { return NestedGuestsIn(folder_.File("."), pid); }

  TemporaryFolder folder_;
};

TEST_F(NestedGuestsInTest, AnyVmOfTheProcessCounts) {
  MakeVm("4711-9", "0");
  MakeVm("471-9", "7");
  MakeVm("47110-9", "7");
  EXPECT_FALSE(Look(4711).value());
  MakeVm("4711-12", "3");
  EXPECT_TRUE(Look(4711).value());
}

TEST_F(NestedGuestsInTest, VmThatCannotBeSeenIsNotTakenForHarmless) {
  EXPECT_FALSE(Look(4711).ok());
  std::filesystem::create_directory(folder_.File("4711-9"));
  EXPECT_FALSE(Look(4711).ok());
  MakeVm("4711-9", "garbage");
  EXPECT_FALSE(Look(4711).ok());
}

}  // namespace
}  // namespace ebb
