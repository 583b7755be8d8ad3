// SPDX-License-Identifier: MIT
#include "tests/guest/machine.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>

#include "hostd/base/unique_fd.h"
#include "tests/guest/kexec.h"
#include "tests/guest/report.h"

namespace ebb::guest {
namespace {

// The modules, in the order they are to be loaded, one path per line.
constexpr const char* kModuleList = "/modules/order";

void UseConsole() {
  const int console = open("/dev/console", O_RDWR);
  if (console < 0) return;  // the kernel has opened one for us, or nobody will ever hear us
  for (int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) dup2(console, fd);
}

void LoadModule(const std::string& path) {
  UniqueFd module(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!module.valid()) FailErrno("cannot open " + path);
  if (syscall(SYS_finit_module, module.get(), "", 0) != 0 && errno != EEXIST) {
    FailErrno("cannot load " + path);
  }
}

void Prepare() {
  Mount("proc", "/proc");
  Mount("sysfs", "/sys");
  Mount("devtmpfs", "/dev");
  UseConsole();
}

// A child that reported why it failed exits; one that was killed could not.
void ExplainDeath(int status) {
  if (!WIFSIGNALED(status)) return;
  const std::string line =
      "EBB-FAIL the workload was killed by signal " + std::to_string(WTERMSIG(status)) + "\n";
  [[maybe_unused]] const ssize_t written = write(STDOUT_FILENO, line.data(), line.size());
}

[[noreturn]] void PowerOff() {
  tcdrain(STDOUT_FILENO);
  for (;;) {
    reboot(RB_POWER_OFF);
    pause();
  }
}

}  // namespace

void Mount(const char* type, const char* where) {
  mkdir(where, 0755);
  if (mount(type, where, type, 0, nullptr) != 0 && errno != EBUSY) {
    FailErrno(std::string("cannot mount ") + where);
  }
}

void LoadModules() {
  std::ifstream list(kModuleList);
  for (std::string path; std::getline(list, path);) LoadModule(path);
}

std::string KernelCommandLine() {
  std::ifstream file("/proc/cmdline");
  return {std::istreambuf_iterator<char>(file), {}};
}

void RunAsInit(const std::function<void()>& work) {
  const pid_t child = fork();
  if (child == 0) {
    Prepare();
    work();
    _exit(EXIT_SUCCESS);
  }
  int status = 0;
  while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  UseConsole();
  ExplainDeath(status);
  if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SUCCESS) {
    Mount("proc", "/proc");
    KexecIfGiven();
  }
  PowerOff();
}

}  // namespace ebb::guest
