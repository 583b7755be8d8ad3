// SPDX-License-Identifier: MIT
#include "tests/hostd/os/child_process.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

namespace ebb {

ChildProcess::ChildProcess(const std::function<void()>& prepare) {
  int ready[2];
  if (pipe2(ready, O_CLOEXEC) != 0) return;
  UniqueFd reading(ready[0]);
  UniqueFd writing(ready[1]);
  Start([&] {
    prepare();
    if (write(writing.get(), "r", 1) != 1) _exit(1);
    for (;;) pause();
  });
  writing.Reset();
  char byte;
  ready_ = read(reading.get(), &byte, 1) == 1;
}

ChildProcess::ChildProcess(const std::vector<std::string>& arguments) {
  int ready[2];
  int input[2];
  if (pipe2(ready, O_CLOEXEC) != 0 || pipe2(input, O_CLOEXEC) != 0) return;
  UniqueFd reading(ready[0]);
  UniqueFd writing(ready[1]);
  UniqueFd its_input(input[0]);
  standard_input_ = UniqueFd(input[1]);
  Start([&] {
    dup2(its_input.get(), STDIN_FILENO);
    // $0 and the rest are the shell's to keep, not to understand.
    std::vector<std::string> all = {"/bin/sh", "-c", "read line"};
    all.insert(all.end(), arguments.begin(), arguments.end());
    std::vector<char*> argv;
    for (std::string& argument : all) argv.push_back(argument.data());
    argv.push_back(nullptr);
    execv(argv[0], argv.data());
    if (write(writing.get(), "f", 1) != 1) _exit(1);
    _exit(1);
  });
  writing.Reset();
  char byte;
  ready_ = read(reading.get(), &byte, 1) == 0;  // closed by the exec
}

void ChildProcess::Start(const std::function<void()>& run) {
  pid_ = fork();
  if (pid_ != 0) return;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  run();
  _exit(0);
}

ChildProcess::~ChildProcess() { Kill(); }

void ChildProcess::Kill() {
  if (pid_ <= 0) return;
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

}  // namespace ebb
