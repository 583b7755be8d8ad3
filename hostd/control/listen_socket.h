// SPDX-License-Identifier: MIT
#pragma once

#include <sys/types.h>

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "hostd/base/unique_fd.h"

namespace ebb {

// A listening unix stream socket that has a name in the file system, and removes it when destroyed.
class ListenSocket {
 public:
  // Binds `path` with exactly `mode`. A socket left there by a dead process is replaced; one that
  // somebody still serves, and a file that is no socket, are refused.
  static absl::StatusOr<ListenSocket> Create(const std::string& path, mode_t mode);

  ListenSocket() = default;
  ListenSocket(ListenSocket&& other) noexcept;
  ListenSocket& operator=(ListenSocket&& other) noexcept;
  ~ListenSocket() { RemoveName(); }

  // Hands the descriptor over; the name stays this object's to remove.
  UniqueFd TakeFd() { return std::move(fd_); }

  // Does nothing when the name meanwhile belongs to another socket.
  void RemoveName();

 private:
  UniqueFd fd_;
  std::string path_;
  dev_t device_ = 0;
  ino_t inode_ = 0;
};

// Checks that `fd`, made by somebody else, is a listening unix stream socket, and makes it
// non-blocking and close-on-exec.
absl::Status PrepareListenFd(int fd);

}  // namespace ebb
