// SPDX-License-Identifier: MIT
#pragma once

#include <sys/types.h>

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "hostd/base/unique_fd.h"
#include "hostd/os/unix_socket.h"

namespace ebb {

// A listening unix socket that has a name in the file system, and removes it when destroyed.
class ListenSocket {
 public:
  // Binds `path` with exactly `mode`, for `group` unless that is empty. Non-blocking. A socket left
  // there by a dead process is replaced; one that somebody still serves, and a file that is no
  // socket, are refused.
  static absl::StatusOr<ListenSocket> Create(const std::string& path, SocketType type, mode_t mode,
                                             const std::string& group = "");

  ListenSocket() = default;
  ListenSocket(ListenSocket&& other) noexcept;
  ListenSocket& operator=(ListenSocket&& other) noexcept;
  ~ListenSocket() { RemoveName(); }

  // Hands the descriptor over; the name stays this object's to remove.
  UniqueFd TakeFd() { return std::move(fd_); }
  int fd() const { return fd_.get(); }

  // Does nothing when the name meanwhile belongs to another socket.
  void RemoveName();

 private:
  UniqueFd fd_;
  std::string path_;
  dev_t device_ = 0;
  ino_t inode_ = 0;
};

bool GroupExists(const std::string& group);

}  // namespace ebb
