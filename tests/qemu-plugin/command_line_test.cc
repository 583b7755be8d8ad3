// SPDX-License-Identifier: MIT
#include "qemu-plugin/command_line.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <string>
#include <vector>

namespace ebb::plugin {
namespace {

// A file that looks like /proc/PID/cmdline.
class CommandLine {
 public:
  explicit CommandLine(const std::vector<std::string>& words) : fd_(memfd_create("cmdline", 0)) {
    for (const std::string& word : words) {
      EXPECT_EQ(write(fd_, word.c_str(), word.size() + 1), static_cast<ssize_t>(word.size() + 1));
    }
    path_ = "/proc/self/fd/" + std::to_string(fd_);
  }
  ~CommandLine() { close(fd_); }

  const char* path() const { return path_.c_str(); }
  std::string Name() const {
    char name[64];
    return NameFromCommandLine(path(), name, sizeof name) ? name : "(none)";
  }

 private:
  int fd_;
  std::string path_;
};

TEST(CommandLine, FindsNameInEveryForm) {
  EXPECT_EQ(CommandLine({"qemu", "-name", "web"}).Name(), "web");
  EXPECT_EQ(CommandLine({"qemu", "--name", "web"}).Name(), "web");
  EXPECT_EQ(CommandLine({"qemu", "-name", "web,debug-threads=on"}).Name(), "web");
  EXPECT_EQ(CommandLine({"qemu", "-name", "guest=web,debug-threads=on"}).Name(), "web");
  EXPECT_EQ(CommandLine({"qemu", "-name", "debug-threads=on,guest=web"}).Name(), "web");
  EXPECT_EQ(CommandLine({"qemu", "-name", "guest=a,,b,process=p"}).Name(), "a,b");
  EXPECT_EQ(CommandLine({"qemu", "-name", "one", "-S", "-name", "two"}).Name(), "two");
}

TEST(CommandLine, NoNameIsNoName) {
  EXPECT_EQ(CommandLine({"qemu"}).Name(), "(none)");
  EXPECT_EQ(CommandLine({"qemu", "-name"}).Name(), "(none)");
  EXPECT_EQ(CommandLine({"qemu", "-name", ""}).Name(), "(none)");
  EXPECT_EQ(CommandLine({"qemu", "-name", "process=p"}).Name(), "(none)");
  EXPECT_EQ(CommandLine({"qemu", "-m", "name"}).Name(), "(none)");
  char name[64];
  EXPECT_FALSE(NameFromCommandLine("/nonexistent", name, sizeof name));
}

TEST(CommandLine, CutsLongNames) {
  EXPECT_EQ(CommandLine({"qemu", "-name", std::string(5000, 'x'), "-S"}).Name(),
            std::string(63, 'x'));
}

TEST(CommandLine, FindsOptionsBehindLongArguments) {
  CommandLine line({"qemu", std::string(5000, 'x'), "-daemonize"});
  EXPECT_TRUE(CommandLineHas(line.path(), "daemonize"));
  EXPECT_FALSE(CommandLineHas(line.path(), "daemon"));
  EXPECT_FALSE(CommandLineHas(CommandLine({"qemu", "daemonize"}).path(), "daemonize"));
  EXPECT_TRUE(CommandLineHas(CommandLine({"qemu", "--daemonize"}).path(), "daemonize"));
}

TEST(CommandLine, KnowsWhetherQemuLoadsUs) {
  const char* ours = "libebb-qemu.so";
  CommandLine loads({"qemu", "-plugin", "file=/usr/lib/libebb-qemu.so,socket=/s"});
  CommandLine loads_another({"qemu", "-plugin", "libother.so", "-name", "libebb-qemu.so"});
  EXPECT_TRUE(CommandLineLoadsPlugin(loads.path(), ours));
  EXPECT_FALSE(CommandLineLoadsPlugin(loads_another.path(), ours));
}

}  // namespace
}  // namespace ebb::plugin
