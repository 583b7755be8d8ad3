// SPDX-License-Identifier: MIT
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace ebb {

// Every wait of these tests ends after this, and then fails.
inline constexpr int kDeadlineMs = 15000;

// A fake_qemu with the library loaded as a plugin; killed and reaped at the end of its scope.
class VmProcess {
 public:
  // Plugin arguments: "socket=...", "mode=...".
  explicit VmProcess(const std::vector<std::string>& plugin_arguments);
  ~VmProcess();
  VmProcess(const VmProcess&) = delete;
  VmProcess& operator=(const VmProcess&) = delete;

  pid_t pid() const { return pid_; }

  void Send(const std::string& line);
  // The next line of its stdout; empty at the deadline or when it has exited.
  std::string ReadLine() { return ReadLineFrom(stdout_, stdout_text_); }
  std::string ReadErrorLine() { return ReadLineFrom(stderr_, stderr_text_); }
  // Waits for its exit and returns the exit code; -1 at the deadline.
  int WaitForExit();

  // What its open descriptors are, as /proc/PID/fd says, of those that contain `part`.
  std::vector<std::string> OpenFiles(const std::string& part) const;
  // Numbers of those.
  std::vector<int> Descriptors(const std::string& part) const;
  bool IsCloseOnExec(int fd) const;
  // A file of /proc/PID.
  std::string ReadProc(const std::string& name) const;

 private:
  static std::string ReadLineFrom(int fd, std::string& text);

  pid_t pid_ = -1;
  int stdin_ = -1;
  int stdout_ = -1;
  int stderr_ = -1;
  std::string stdout_text_;
  std::string stderr_text_;
};

}  // namespace ebb
