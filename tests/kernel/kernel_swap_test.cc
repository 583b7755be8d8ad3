// SPDX-License-Identifier: MIT
// The rule about the kernel's own swap, with a real swap file and a real cgroup: for a machine that
// has nothing else to do, such as the guest of tests/kernel. Its argument is the hammer.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "hostd/vm/attach_check.h"
#include "tests/hostd/os/child_process.h"

namespace ebb {
namespace {

constexpr uint64_t kPages = 16;
constexpr uint64_t kSwapBytes = 64 * kMiB;
constexpr char kSwapFile[] = "swapfile";

std::string hammer;

// A swap area as mkswap(8) makes it, and no more than the kernel asks for.
bool WriteSwapFile() {
  std::vector<char> area(kSwapBytes);
  struct Header {
    uint32_t version = 1;
    uint32_t last_page = BytesToPages(kSwapBytes) - 1;
  } header;
  constexpr std::string_view kSignature = "SWAPSPACE2";
  std::copy_n(reinterpret_cast<const char*>(&header), sizeof header, area.begin() + 1024);
  std::copy(kSignature.begin(), kSignature.end(),
            area.begin() + static_cast<ptrdiff_t>(kPageBytes - kSignature.size()));
  std::ofstream file(kSwapFile, std::ios::binary);
  file.write(area.data(), static_cast<std::streamsize>(area.size()));
  file.close();
  return file.good() && chmod(kSwapFile, 0600) == 0;
}

bool WriteTo(const std::string& path, const std::string& text) {
  std::ofstream file(path);
  file << text << std::flush;
  return file.good();
}

std::string ReadFrom(const std::string& path) {
  std::string text;
  std::getline(std::ifstream(path) >> std::ws, text);
  return text;
}

// A cgroup of its own with a memory controller.
class Cgroup {
 public:
  explicit Cgroup(const std::string& name) : path_("/sys/fs/cgroup/" + name) {
    EXPECT_TRUE(WriteTo("/sys/fs/cgroup/cgroup.subtree_control", "+memory"));
    EXPECT_EQ(mkdir(path_.c_str(), 0755), 0);
  }
  ~Cgroup() { rmdir(path_.c_str()); }
  Cgroup(const Cgroup&) = delete;
  Cgroup& operator=(const Cgroup&) = delete;

  bool Set(const std::string& file, const std::string& text) {
    return WriteTo(path_ + "/" + file, text);
  }
  std::string Get(const std::string& file) { return ReadFrom(path_ + "/" + file); }

 private:
  const std::string path_;
};

class KernelSwapTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    ASSERT_TRUE(WriteSwapFile());
    ASSERT_EQ(swapon(kSwapFile, 0), 0) << strerror(errno);
  }
  static void TearDownTestSuite() {
    EXPECT_EQ(swapoff(kSwapFile), 0);
    unlink(kSwapFile);
  }

  // Attaches a process that maps guest RAM in that cgroup.
  static absl::Status Attach(Cgroup* cgroup) {
    std::vector<UniqueFd> memfds;
    memfds.emplace_back(memfd_create("ebb-test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    EXPECT_EQ(ftruncate(memfds[0].get(), PagesToBytes(kPages)), 0);
    // An address that is free in the child, too.
    void* at = mmap(nullptr, PagesToBytes(kPages), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ChildProcess qemu([&] {
      if (mmap(at, PagesToBytes(kPages), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
               memfds[0].get(), 0) == MAP_FAILED) {
        _exit(1);
      }
    });
    EXPECT_TRUE(cgroup->Set("cgroup.procs", std::to_string(qemu.pid())));
    const absl::Status status =
        CheckRam(qemu.pid(), {{reinterpret_cast<uint64_t>(at), PagesToBytes(kPages), 0, 0}}, memfds)
            .status();
    munmap(at, PagesToBytes(kPages));
    return status;
  }
};

TEST_F(KernelSwapTest, VmThatTheKernelMaySwapIsRefused) {
  Cgroup cgroup("may-swap");
  const absl::Status status = Attach(&cgroup);
  ASSERT_FALSE(status.ok());
  EXPECT_NE(status.message().find("memory.swap.max=0"), std::string::npos) << status;
}

TEST_F(KernelSwapTest, VmThatTheKernelMaySwapALittleIsRefused) {
  Cgroup cgroup("may-swap-a-little");
  ASSERT_TRUE(cgroup.Set("memory.swap.max", "1048576"));
  EXPECT_FALSE(Attach(&cgroup).ok());
}

TEST_F(KernelSwapTest, VmThatTheKernelMayNotSwapIsAccepted) {
  Cgroup cgroup("may-not-swap");
  ASSERT_TRUE(cgroup.Set("memory.swap.max", "0"));
  const absl::Status status = Attach(&cgroup);
  EXPECT_TRUE(status.ok()) << status;
}

// That the rule is right: nothing goes to the swap file, pages are unmapped all the same, and no
// byte is wrong.
TEST_F(KernelSwapTest, HammerPassesWhereTheKernelMayNotSwap) {
  Cgroup cgroup("hammer");
  ASSERT_TRUE(cgroup.Set("memory.swap.max", "0"));
  const pid_t child = fork();
  if (child == 0) {
    if (!cgroup.Set("cgroup.procs", "0")) _exit(1);
    execl(hammer.c_str(), hammer.c_str(), "--pages", "4096", "--operations", "50000", "--slowness",
          "10", nullptr);
    _exit(1);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0) << "the hammer fails";
  EXPECT_EQ(cgroup.Get("memory.swap.current"), "0");
}

}  // namespace
}  // namespace ebb

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  if (argc != 2) return 2;
  ebb::hammer = argv[1];
  return RUN_ALL_TESTS();
}
