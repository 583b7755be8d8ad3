// SPDX-License-Identifier: MIT
#include "vm_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace ebb {
namespace {

namespace fs = std::filesystem;

std::string FromEnvironment(const char* name) {
  const char* value = getenv(name);
  return value != nullptr ? value : "";
}

void MoveTo(int fd, int target) { dup2(fd, target); }

std::string Target(const fs::path& link) {
  std::error_code gone;
  return fs::read_symlink(link, gone).string();
}

}  // namespace

VmProcess::VmProcess(const std::vector<std::string>& plugin_arguments) {
  std::vector<std::string> words = {FromEnvironment("EBB_TEST_FAKE_QEMU"),
                                    FromEnvironment("EBB_TEST_LIBRARY")};
  words.insert(words.end(), plugin_arguments.begin(), plugin_arguments.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);

  int in[2], out[2], err[2];
  if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC) || pipe2(err, O_CLOEXEC)) abort();
  pid_ = fork();
  if (pid_ == 0) {
    MoveTo(in[0], STDIN_FILENO);
    MoveTo(out[1], STDOUT_FILENO);
    MoveTo(err[1], STDERR_FILENO);
    execv(argv[0], argv.data());
    _exit(127);
  }
  close(in[0]);
  close(out[1]);
  close(err[1]);
  stdin_ = in[1];
  stdout_ = out[0];
  stderr_ = err[0];
}

VmProcess::~VmProcess() {
  if (pid_ > 0) {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  for (int fd : {stdin_, stdout_, stderr_}) close(fd);
}

void VmProcess::Send(const std::string& line) {
  std::string text = line + "\n";
  [[maybe_unused]] ssize_t written = write(stdin_, text.data(), text.size());
}

std::string VmProcess::ReadLineFrom(int fd, std::string& text) {
  size_t end;
  while ((end = text.find('\n')) == std::string::npos) {
    pollfd readable = {.fd = fd, .events = POLLIN, .revents = 0};
    if (poll(&readable, 1, kDeadlineMs) != 1) return "";
    char buffer[512];
    ssize_t got = read(fd, buffer, sizeof buffer);
    if (got <= 0) return "";
    text.append(buffer, static_cast<size_t>(got));
  }
  std::string line = text.substr(0, end);
  text.erase(0, end + 1);
  return line;
}

int VmProcess::WaitForExit() {
  int pidfd = static_cast<int>(syscall(SYS_pidfd_open, pid_, 0));
  pollfd exited = {.fd = pidfd, .events = POLLIN, .revents = 0};
  int ready = poll(&exited, 1, kDeadlineMs);
  close(pidfd);
  if (ready != 1) return -1;
  int status = 0;
  waitpid(pid_, &status, 0);
  pid_ = -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

std::vector<std::string> VmProcess::OpenFiles(const std::string& part) const {
  std::vector<std::string> found;
  for (const auto& entry : fs::directory_iterator("/proc/" + std::to_string(pid_) + "/fd")) {
    std::string target = Target(entry.path());
    if (target.find(part) != std::string::npos) found.push_back(target);
  }
  return found;
}

std::vector<int> VmProcess::Descriptors(const std::string& part) const {
  std::vector<int> found;
  for (const auto& entry : fs::directory_iterator("/proc/" + std::to_string(pid_) + "/fd")) {
    if (Target(entry.path()).find(part) == std::string::npos) continue;
    found.push_back(std::stoi(entry.path().filename().string()));
  }
  return found;
}

bool VmProcess::IsCloseOnExec(int fd) const {
  std::istringstream lines(ReadProc("fdinfo/" + std::to_string(fd)));
  std::string key, value;
  while (lines >> key >> value) {
    if (key == "flags:") return std::stoul(value, nullptr, 8) & O_CLOEXEC;
  }
  return false;
}

std::string VmProcess::ReadProc(const std::string& name) const {
  std::ifstream file("/proc/" + std::to_string(pid_) + "/" + name);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

}  // namespace ebb
