// SPDX-License-Identifier: MIT
#include "tests/hostd/ctl/ebbctl_fixture.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <utility>

#include "hostd/base/clock.h"

namespace ebb {
namespace {

std::vector<char*> Pointers(const std::vector<std::string>& words) {
  std::vector<char*> pointers;
  for (const std::string& word : words) pointers.push_back(const_cast<char*>(word.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

}  // namespace

std::string EbbctlPath() {
  const char* program = std::getenv("EBBCTL");
  EXPECT_NE(program, nullptr) << "run this through meson test, or set EBBCTL";
  return program == nullptr ? "ebbctl" : program;
}

std::string ContentOf(const std::string& file) {
  std::ifstream stream(file);
  EXPECT_TRUE(stream.is_open()) << file;
  return {std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
}

Process::Process(const std::vector<std::string>& arguments,
                 const std::vector<std::string>& environment, UniqueFd err, UniqueFd err_reader)
    : err_(std::move(err_reader)) {
  // Closed here: a parameter may live on in the caller, and its reader would never see the end.
  const UniqueFd err_writer = std::move(err);
  int out[2];
  EXPECT_EQ(pipe2(out, O_CLOEXEC), 0);
  out_ = UniqueFd(out[0]);
  const UniqueFd out_writer(out[1]);
  std::vector<std::string> words = {EbbctlPath()};
  words.insert(words.end(), arguments.begin(), arguments.end());

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, out_writer.get(), 1);
  posix_spawn_file_actions_adddup2(&actions, err_writer.get(), 2);
  EXPECT_EQ(posix_spawn(&pid_, words[0].c_str(), &actions, nullptr, Pointers(words).data(),
                        Pointers(environment).data()),
            0);
  posix_spawn_file_actions_destroy(&actions);
}

void Process::Signal(int number) const { kill(pid_, number); }

bool Process::ReadMore(int64_t deadline_ns) {
  if (!out_.valid() && !err_.valid()) return false;
  pollfd fds[] = {{out_.get(), POLLIN, 0}, {err_.get(), POLLIN, 0}};
  const int64_t left_ms = (deadline_ns - MonotonicNs()) / kNsPerMs;
  if (left_ms <= 0 || poll(fds, 2, static_cast<int>(left_ms)) <= 0) {
    ADD_FAILURE() << "ebbctl says no more and does not end; so far: " << result_.out << result_.err;
    return false;
  }
  const auto read_some = [](const pollfd& poll_fd, UniqueFd& fd, std::string* text) {
    if (poll_fd.revents == 0) return;
    char buffer[4096];
    // A terminal whose other end was closed fails with EIO: that is its end of file.
    const ssize_t n = read(fd.get(), buffer, sizeof buffer);
    if (n > 0) {
      text->append(buffer, static_cast<size_t>(n));
    } else {
      fd.Reset();
    }
  };
  read_some(fds[0], out_, &result_.out);
  read_some(fds[1], err_, &result_.err);
  return true;
}

void Process::ReadUntil(const std::string& part) {
  const int64_t deadline_ns = MonotonicNs() + kDeadlineNs;
  const auto has = [&](const std::string& text) { return text.find(part) != std::string::npos; };
  while (!has(result_.out) && !has(result_.err)) {
    if (!ReadMore(deadline_ns)) {
      ADD_FAILURE() << "it did not say " << part << "; but: " << result_.out << result_.err;
      return;
    }
  }
}

Result Process::Wait() {
  const int64_t deadline_ns = MonotonicNs() + kDeadlineNs;
  while (ReadMore(deadline_ns)) {
  }
  if (out_.valid() || err_.valid()) kill(pid_, SIGKILL);
  int status = 0;
  EXPECT_EQ(waitpid(pid_, &status, 0), pid_);
  result_.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  return result_;
}

EbbctlTest::EbbctlTest() {
  char name[] = "/tmp/ebbctl-test-XXXXXX";
  dir_ = mkdtemp(name);
  path_ = dir_ + "/control.sock";
  environment_ = {"EBB_CONTROL_SOCKET=" + path_, "http_proxy=http://127.0.0.1:9"};
  host_.Add(FakeHost::SomeVm("web"));
  Restart();
}

void EbbctlTest::Restart() {
  server_.reset();
  ControlServerOptions options;
  options.socket_path = path_;
  auto server = ControlServer::Start(host_, options);
  EXPECT_TRUE(server.ok()) << server.status();
  if (server.ok()) server_ = *std::move(server);
}

EbbctlTest::~EbbctlTest() {
  server_.reset();
  EXPECT_EQ(rmdir(dir_.c_str()), 0);
}

Process EbbctlTest::Start(const std::vector<std::string>& arguments) {
  int err[2];
  EXPECT_EQ(pipe2(err, O_CLOEXEC), 0);
  return Process(arguments, environment_, UniqueFd(err[1]), UniqueFd(err[0]));
}

Result EbbctlTest::RunOnTerminal(const std::vector<std::string>& arguments) {
  UniqueFd reader(posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
  EXPECT_EQ(grantpt(reader.get()), 0);
  EXPECT_EQ(unlockpt(reader.get()), 0);
  char name[64];
  EXPECT_EQ(ptsname_r(reader.get(), name, sizeof name), 0);
  UniqueFd terminal(open(name, O_RDWR | O_NOCTTY | O_CLOEXEC));
  Process process(arguments, environment_, std::move(terminal), std::move(reader));
  return process.Wait();
}

void EbbctlTest::LetSwapOutMove() {
  host_.OnRead([](VmStatus& vm) {
    if (vm.swap_out_target_bytes == 0) return true;
    vm.resident_bytes -= 10 * kMiB;
    vm.swapped_bytes += 10 * kMiB;
    if (vm.resident_bytes <= vm.swap_out_target_bytes) vm.swap_out_target_bytes = 0;
    return true;
  });
}

void EbbctlTest::LetSwapInMove(uint64_t stop_at_resident_bytes) {
  host_.OnRead([=](VmStatus& vm) {
    if (vm.swap_in_remaining_bytes == 0) return true;
    const uint64_t room = stop_at_resident_bytes - vm.resident_bytes;
    const uint64_t step = std::min({200 * kMiB, room, vm.swapped_bytes});
    vm.resident_bytes += step;
    vm.swapped_bytes -= step;
    vm.swap_in_remaining_bytes = step < room ? vm.swapped_bytes : 0;
    return true;
  });
}

void EbbctlTest::ExpectContains(const std::string& text, const std::string& part) {
  EXPECT_NE(text.find(part), std::string::npos) << "no \"" << part << "\" in:\n" << text;
}

void EbbctlTest::ExpectNoTrailingSpaces(const std::string& text) {
  EXPECT_EQ(text.find(" \n"), std::string::npos) << text;
  EXPECT_FALSE(text.empty());
  EXPECT_EQ(text.back(), '\n');
}

}  // namespace ebb
