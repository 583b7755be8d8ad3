// SPDX-License-Identifier: MIT
#include "hostd/os/listen_socket.h"

#include <grp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "hostd/base/status_macros.h"
#include "hostd/base/wait_checks.h"
#include "hostd/os/os_result.h"

namespace ebb {
namespace {

constexpr int kBacklog = 64;

// Makes room for a new socket at `path`.
absl::Status RemoveDeadSocket(const std::string& path, SocketType type,
                              const sockaddr_un& address) {
  struct stat found;
  if (lstat(path.c_str(), &found) != 0) {
    return errno == ENOENT ? absl::OkStatus() : ErrnoStatus(absl::StrCat("cannot look at ", path));
  }
  if (!S_ISSOCK(found.st_mode)) {
    return absl::AlreadyExistsError(absl::StrCat(path, " exists and is not a socket"));
  }
  // Non-blocking: EAGAIN means a full backlog, which is a living server too.
  const UniqueFd probe(NewUnixSocket(type));
  if (!probe.valid()) return ErrnoStatus("socket");
  MayWait("for a peer that listens");
  if (connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 ||
      errno != ECONNREFUSED) {
    return absl::AlreadyExistsError(absl::StrCat(path, " is in use; is another ebbd running?"));
  }
  if (unlink(path.c_str()) != 0 && errno != ENOENT) {
    return ErrnoStatus(absl::StrCat("cannot remove the dead socket ", path));
  }
  return absl::OkStatus();
}

absl::Status SetGroup(const std::string& path, const std::string& group) {
  if (group.empty()) return absl::OkStatus();
  const struct group* entry = getgrnam(group.c_str());
  if (entry == nullptr) return absl::NotFoundError(absl::StrCat("there is no group ", group));
  if (chown(path.c_str(), static_cast<uid_t>(-1), entry->gr_gid) != 0) {
    return ErrnoStatus(absl::StrCat("cannot set the group of ", path));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ListenSocket> ListenSocket::Create(const std::string& path, SocketType type,
                                                  mode_t mode, const std::string& group) {
  EBB_ASSIGN_OR_RETURN(const sockaddr_un address, UnixAddress(path));
  EBB_RETURN_IF_ERROR(RemoveDeadSocket(path, type, address));

  ListenSocket result;
  result.fd_ = NewUnixSocket(type);
  const int fd = result.fd_.get();
  if (fd < 0) return ErrnoStatus("socket");
  // Linux gives the name the socket's own mode less the umask: set before bind, the name is at no
  // time more open than asked for. chmod then adds what the umask took.
  if (fchmod(fd, mode) != 0) return ErrnoStatus("fchmod of a socket");
  if (bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return ErrnoStatus(absl::StrCat("cannot create the socket ", path));
  }
  struct stat made;
  if (lstat(path.c_str(), &made) != 0) return ErrnoStatus(absl::StrCat("cannot look at ", path));
  result.path_ = path;
  result.device_ = made.st_dev;
  result.inode_ = made.st_ino;
  EBB_RETURN_IF_ERROR(SetGroup(path, group));
  if (chmod(path.c_str(), mode) != 0) return ErrnoStatus(absl::StrCat("cannot chmod ", path));
  if (listen(fd, kBacklog) != 0) return ErrnoStatus(absl::StrCat("cannot listen on ", path));
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

bool GroupExists(const std::string& group) { return getgrnam(group.c_str()) != nullptr; }

}  // namespace ebb
