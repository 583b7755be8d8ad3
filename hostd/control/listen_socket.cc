// SPDX-License-Identifier: MIT
#include "hostd/control/listen_socket.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "hostd/base/status_macros.h"

namespace ebb {
namespace {

constexpr int kBacklog = 64;

absl::Status Errno(const std::string& what) { return absl::ErrnoToStatus(errno, what); }

// Makes room for a new socket at `path`.
absl::Status RemoveDeadSocket(const std::string& path, const sockaddr_un& address) {
  struct stat found;
  if (lstat(path.c_str(), &found) != 0) {
    return errno == ENOENT ? absl::OkStatus() : Errno(absl::StrCat("cannot look at ", path));
  }
  if (!S_ISSOCK(found.st_mode)) {
    return absl::AlreadyExistsError(absl::StrCat(path, " exists and is not a socket"));
  }
  // Non-blocking: EAGAIN means a full backlog, which is a living server too.
  const UniqueFd probe(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!probe.valid()) return Errno("socket");
  if (connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 ||
      errno != ECONNREFUSED) {
    return absl::AlreadyExistsError(absl::StrCat(path, " is in use; is another ebbd running?"));
  }
  if (unlink(path.c_str()) != 0 && errno != ENOENT) {
    return Errno(absl::StrCat("cannot remove the dead socket ", path));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ListenSocket> ListenSocket::Create(const std::string& path, mode_t mode) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) {
    return absl::InvalidArgumentError(absl::StrCat("the path of a socket has 1 to ",
                                                   sizeof address.sun_path - 1, " bytes: ", path));
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  EBB_RETURN_IF_ERROR(RemoveDeadSocket(path, address));

  ListenSocket result;
  result.fd_ = UniqueFd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int fd = result.fd_.get();
  if (fd < 0) return Errno("socket");
  // Linux gives the name the socket's own mode less the umask: set before bind, the name is at no
  // time more open than asked for. chmod then adds what the umask took.
  if (fchmod(fd, mode) != 0) return Errno("fchmod of a socket");
  if (bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return Errno(absl::StrCat("cannot create the socket ", path));
  }
  struct stat made;
  if (lstat(path.c_str(), &made) != 0) return Errno(absl::StrCat("cannot look at ", path));
  result.path_ = path;
  result.device_ = made.st_dev;
  result.inode_ = made.st_ino;
  if (chmod(path.c_str(), mode) != 0) return Errno(absl::StrCat("cannot chmod ", path));
  if (listen(fd, kBacklog) != 0) return Errno(absl::StrCat("cannot listen on ", path));
  return result;
}

ListenSocket::ListenSocket(ListenSocket&& other) noexcept
    : fd_(std::move(other.fd_)),
      path_(std::exchange(other.path_, "")),
      device_(other.device_),
      inode_(other.inode_) {}

ListenSocket& ListenSocket::operator=(ListenSocket&& other) noexcept {
  if (this != &other) {
    RemoveName();
    fd_ = std::move(other.fd_);
    path_ = std::exchange(other.path_, "");
    device_ = other.device_;
    inode_ = other.inode_;
  }
  return *this;
}

void ListenSocket::RemoveName() {
  if (path_.empty()) return;
  struct stat found;
  if (lstat(path_.c_str(), &found) == 0 && found.st_dev == device_ && found.st_ino == inode_) {
    unlink(path_.c_str());
  }
  path_.clear();
}

absl::Status PrepareListenFd(int fd) {
  int domain = 0;
  int type = 0;
  int listening = 0;
  socklen_t size = sizeof domain;
  if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) != 0 ||
      getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) != 0 ||
      getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) != 0) {
    return Errno("the control socket");
  }
  if (domain != AF_UNIX || type != SOCK_STREAM || listening == 0) {
    return absl::InvalidArgumentError("the control socket is not a listening unix stream socket");
  }
  const int flags = fcntl(fd, F_GETFL);
  if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 ||
      fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) {
    return Errno("fcntl of the control socket");
  }
  return absl::OkStatus();
}

}  // namespace ebb
