// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <vector>

#include "hostd/wire/handover.h"

namespace ebb {

// A descriptor of the test, closed at the end of its scope.
class TestFd {
 public:
  explicit TestFd(int fd = -1) : fd_(fd) {}
  TestFd(TestFd&& other) noexcept : fd_(other.fd_) { other.fd_ = -1; }
  TestFd& operator=(TestFd&& other) noexcept;
  ~TestFd() { Close(); }

  int get() const { return fd_; }
  void Close();

 private:
  int fd_;
};

// Hello as it came.
struct ReceivedHello {
  size_t bytes = 0;  // of the packet; 0: the library closed the connection, or the deadline passed
  wire::Hello hello = {};
  std::vector<TestFd> fds;  // the userfaultfd, then RAM memfds

  int userfaultfd() const { return fds.empty() ? -1 : fds[0].get(); }
};

// One connection of the library, from ebbd's side. Nothing waits longer than kDeadlineMs.
class DaemonConnection {
 public:
  explicit DaemonConnection(int fd) : fd_(fd) {}

  bool connected() const { return fd_.get() >= 0; }
  void SendOffer();
  void SendAccept(const std::vector<int>& state_fds);
  void SendRefuse(const std::string& reason);
  void SendRelease();
  void SendRaw(const void* message, size_t size, const std::vector<int>& fds);
  ReceivedHello ReceiveHello();
  // Offer, then its answer.
  ReceivedHello Greet();
  // True when the library has closed its end.
  bool WaitForEnd();
  // True unless the library has closed its end by now.
  bool IsOpen();
  void Close() { fd_.Close(); }

 private:
  TestFd fd_;
};

// ebbd's listening socket in a directory of its own.
class FakeDaemon {
 public:
  FakeDaemon();
  ~FakeDaemon();

  const std::string& socket_path() const { return path_; }
  std::string socket_argument() const { return "socket=" + path_; }
  DaemonConnection Accept();

 private:
  std::string directory_;
  std::string path_;
  TestFd listener_;
};

// The three state memfds of a VM, as the library gets them: read-only.
class StateFiles {
 public:
  StateFiles();

  std::vector<int> fds() const;

 private:
  std::vector<TestFd> files_;
};

wire::Header MakeHeader(wire::MessageType type, uint32_t size);

// /dev/userfaultfd, or -1.
int OpenUserfaultfdDevice();

// True if both descriptors are one open file.
bool IsSameOpenFile(int a, int b);

}  // namespace ebb
