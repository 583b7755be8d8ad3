// SPDX-License-Identifier: MIT
// /init of a guest that runs tests in a kernel that is not this machine's: each line of /steps is a
// program with its arguments. It works on an ext4 disk, with cgroups at hand. On the console:
//   EBB-STEP STATUS LINE   a step has ended; STATUS is its exit status, 128 + N for signal N
//   EBB-DONE               there are no more
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "tests/guest/machine.h"
#include "tests/guest/report.h"

namespace ebb::guest {
namespace {

constexpr const char* kDisk = "/disk";

void MountDisk() {
  mkdir(kDisk, 0755);
  if (mount("/dev/vda", kDisk, "ext4", 0, nullptr) != 0) FailErrno("cannot mount the disk");
  if (chdir(kDisk) != 0) FailErrno("cannot enter the disk");
}

[[noreturn]] void Execute(const std::string& line) {
  std::istringstream stream(line);
  std::vector<std::string> words;
  for (std::string word; stream >> word;) words.push_back(word);
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  execv(arguments[0], arguments.data());
  FailErrno("cannot run " + line);
}

int RunStep(const std::string& line) {
  const pid_t child = fork();
  if (child == 0) Execute(line);
  int status = 0;
  if (waitpid(child, &status, 0) != child) FailErrno("cannot wait for " + line);
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

void RunSteps() {
  LoadModules();
  Mount("cgroup2", "/sys/fs/cgroup");
  MountDisk();
  std::ifstream steps("/steps");
  for (std::string line; std::getline(steps, line);) {
    std::printf("EBB-STEP %d %s\n", RunStep(line), line.c_str());
    std::fflush(stdout);
  }
  std::printf("EBB-DONE\n");
  std::fflush(stdout);
}

}  // namespace
}  // namespace ebb::guest

int main() { ebb::guest::RunAsInit(ebb::guest::RunSteps); }
