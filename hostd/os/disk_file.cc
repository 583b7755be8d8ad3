// SPDX-License-Identifier: MIT
#include "hostd/os/disk_file.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <thread>
#include <utility>

#include "absl/strings/str_format.h"
#include "hostd/base/clock.h"
#include "hostd/base/size.h"
#include "hostd/base/status_macros.h"
#include "hostd/base/wait_checks.h"
#include "hostd/os/os_result.h"

namespace ebb {
namespace {

// Long enough for udev, which locks a device while it looks at it, and for what an ebbd that was
// killed has in flight.
constexpr int64_t kUsersMayTakeNs = kNsPerS;
constexpr std::chrono::milliseconds kPause{20};

// As direct I/O wants memory and places on the disk to lie.
struct alignas(kPageBytes) AlignedBlock {
  std::byte bytes[kPageBytes];
};

absl::Status Refused(const std::string& path, const std::string& why) {
  return absl::FailedPreconditionError(path + " " + why);
}

// Tries again while somebody else uses it; errno says why it fails.
template <typename Attempt>
bool SucceedsInTime(Attempt attempt) {
  const int64_t end_ns = MonotonicNs() + kUsersMayTakeNs;
  while (!attempt()) {
    if ((errno != EBUSY && !ErrnoIsTransient()) || MonotonicNs() >= end_ns) return false;
    MayWait("for whoever uses a disk");
    // style-ok(sleep): polls with a deadline
    std::this_thread::sleep_for(kPause);
  }
  return true;
}

absl::Status OpenError(const std::string& path, int error) {
  if (error == ENOENT) return Refused(path, "is in a folder that is not there: create the folder");
  if (error == EEXIST) {
    return Refused(path,
                   "appeared while it was created, or is a symbolic link to nothing: try again, or "
                   "name the file itself");
  }
  if (error == ELOOP) return Refused(path, "is a symbolic link: name the file itself");
  if (error == EBUSY) {
    return Refused(
        path,
        "is mounted, or in use by swap, LVM, RAID or another ebbd, or one that was killed "
        "has reads or writes in flight to it: end that, try again, or choose another "
        "device");
  }
  if (error == EINVAL) {
    return Refused(path,
                   "is on a file system without direct I/O: choose a block device, or a file on "
                   "ext4 or xfs");
  }
  return absl::ErrnoToStatus(error, "opening " + path);
}

bool LiesInMemory(int fd) {
  struct statfs info;
  return fstatfs(fd, &info) == 0 && (info.f_type == TMPFS_MAGIC || info.f_type == RAMFS_MAGIC);
}

}  // namespace

DiskFile::DiskFile(DiskFile&& other) noexcept
    : path_(std::move(other.path_)),
      fd_(std::move(other.fd_)),
      is_device_(other.is_device_),
      is_new_(std::exchange(other.is_new_, false)),
      bytes_(other.bytes_) {}

DiskFile::~DiskFile() {
  if (is_new_) unlink(path_.c_str());
}

UniqueFd DiskFile::Keep() && {
  is_new_ = false;
  return std::move(fd_);
}

absl::StatusOr<DiskFile> DiskFile::Open(const std::string& path) {
  MayWait("for a file system");
  constexpr int kFlags = O_RDWR | O_DIRECT | O_CLOEXEC;
  // Opening something else than a file or a block device may do something already.
  struct stat there;
  bool is_device = false;
  bool is_new = false;
  if (stat(path.c_str(), &there) == 0) {
    is_device = S_ISBLK(there.st_mode);
    if (!is_device && !S_ISREG(there.st_mode)) {
      return Refused(path, "is neither a file nor a block device: choose one of these");
    }
  } else if (errno == ENOENT) {
    is_new = true;
  } else {
    return ErrnoStatus("looking for " + path);
  }
  // The names of block devices that last are symbolic links, those of files have no need to be.
  const int kind_flags = is_device ? O_EXCL : is_new ? O_CREAT | O_EXCL | O_NOFOLLOW : O_NOFOLLOW;
  UniqueFd fd;
  const bool opened = SucceedsInTime([&] {
    MayWait("for a file system");
    fd = UniqueFd(open(path.c_str(), kFlags | kind_flags, 0600));
    return fd.valid();
  });
  if (!opened) {
    const int error = errno;
    // Without direct I/O, some file systems refuse after they have made the file.
    if (is_new && error == EINVAL) unlink(path.c_str());
    return OpenError(path, error);
  }
  DiskFile file(path, std::move(fd), is_device, false);
  EBB_RETURN_IF_ERROR(file.Lock());
  file.is_new_ = is_new;  // not before: whoever had locked it would lose it
  EBB_RETURN_IF_ERROR(is_device ? file.CheckDevice() : file.CheckFile());
  return file;
}

absl::Status DiskFile::Lock() {
  // style-ok(wait): LOCK_NB
  if (SucceedsInTime([&] { return flock(fd_.get(), LOCK_EX | LOCK_NB) == 0; })) {
    return absl::OkStatus();
  }
  if (!ErrnoIsTransient()) return ErrnoStatus("locking " + path_);
  return Refused(path_,
                 "is in use by another ebbd, or one that was killed has reads or writes in flight "
                 "to it: give each ebbd a file or device of its own, or try again");
}

absl::Status DiskFile::CheckFile() {
  struct stat info;
  if (fstat(fd_.get(), &info) != 0) return ErrnoStatus("looking at " + path_);
  if (!S_ISREG(info.st_mode) || info.st_nlink == 0) {
    return Refused(path_, "was replaced while it was opened: try again");
  }
  if (info.st_uid != geteuid()) {
    return Refused(path_, absl::StrFormat("belongs to user %d, who could read and change it: "
                                          "choose a file that is not there yet",
                                          info.st_uid));
  }
  if (LiesInMemory(fd_.get())) {
    return Refused(path_,
                   "is on a file system in memory: choose a block device, or a file on ext4 or "
                   "xfs");
  }
  bytes_ = static_cast<uint64_t>(info.st_size);
  return absl::OkStatus();
}

absl::Status DiskFile::CheckDevice() {
  struct stat info;
  if (fstat(fd_.get(), &info) != 0) return ErrnoStatus("looking at " + path_);
  if (!S_ISBLK(info.st_mode)) {
    return Refused(path_, "was replaced while it was opened: try again");
  }
  int block_bytes = 0;
  if (ioctl(fd_.get(), BLKSSZGET, &block_bytes) != 0 ||
      ioctl(fd_.get(), BLKGETSIZE64, &bytes_) != 0) {
    return ErrnoStatus("asking for the size of " + path_);
  }
  if (static_cast<uint64_t>(block_bytes) > kPageBytes) {
    return Refused(path_, absl::StrFormat("has logical blocks of %d bytes, which is more than a "
                                          "page: choose a device whose blocks are 4096 or 512 "
                                          "bytes",
                                          block_bytes));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::byte>> DiskFile::ReadStart(uint64_t max_bytes) const {
  std::vector<AlignedBlock> blocks(max_bytes / kPageBytes);
  std::vector<std::byte> start;
  for (uint64_t done = 0; done < max_bytes;) {
    MayWait("for a disk");
    const ssize_t bytes = pread(fd_.get(), reinterpret_cast<std::byte*>(blocks.data()) + done,
                                max_bytes - done, static_cast<off_t>(done));
    if (bytes < 0) return ErrnoStatus("reading the start of " + path_);
    done += static_cast<uint64_t>(bytes);
    if (bytes == 0 || done % kPageBytes != 0) max_bytes = done;  // its end
  }
  start.resize(max_bytes);
  std::copy_n(reinterpret_cast<const std::byte*>(blocks.data()), max_bytes, start.begin());
  return start;
}

absl::Status DiskFile::WriteStart(std::span<const std::byte, kPageBytes> block) {
  AlignedBlock aligned;
  std::copy(block.begin(), block.end(), aligned.bytes);
  MayWait("for a disk");
  const ssize_t bytes = pwrite(fd_.get(), aligned.bytes, kPageBytes, 0);
  if (bytes < 0) return ErrnoStatus("writing the start of " + path_);
  if (static_cast<uint64_t>(bytes) != kPageBytes) {
    return absl::ResourceExhaustedError(path_ +
                                        " has no room for one block: make room, or choose "
                                        "another place");
  }
  MayWait("for a disk");
  if (fdatasync(fd_.get()) != 0) return ErrnoStatus("writing the start of " + path_);
  bytes_ = std::max(bytes_, kPageBytes);
  return absl::OkStatus();
}

// Filling a file system up to find out would hurt whoever else writes to it.
absl::Status DiskFile::CheckSpace(uint64_t bytes) const {
  struct stat info;
  struct statvfs system;
  if (fstat(fd_.get(), &info) != 0 || fstatvfs(fd_.get(), &system) != 0) {
    return ErrnoStatus("asking for the space of " + path_);
  }
  constexpr uint64_t kStatBlockBytes = 512;  // stat(2)
  const uint64_t has = static_cast<uint64_t>(info.st_blocks) * kStatBlockBytes;
  const uint64_t free = uint64_t{system.f_bavail} * system.f_frsize;
  if (bytes <= has || bytes - has <= free) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrFormat(
      "%s needs %s more, and its file system has %s free: make room, or choose a smaller size",
      path_, HumanSize(bytes - has), HumanSize(free)));
}

absl::Status DiskFile::Reserve(uint64_t bytes) {
  EBB_RETURN_IF_ERROR(CheckSpace(bytes));
  MayWait("for a file system");
  if (bytes < bytes_ && ftruncate(fd_.get(), static_cast<off_t>(bytes)) != 0) {
    return ErrnoStatus("making " + path_ + " smaller");
  }
  bytes_ = std::min(bytes, bytes_);
  MayWait("for a file system");
  if (fallocate(fd_.get(), 0, 0, static_cast<off_t>(bytes)) != 0) {
    const int error = errno;
    [[maybe_unused]] const int as_it_was = ftruncate(fd_.get(), static_cast<off_t>(bytes_));
    if (error == EOPNOTSUPP) {
      return Refused(path_,
                     "is on a file system that cannot reserve space: choose a block device, or a "
                     "file on ext4 or xfs");
    }
    return absl::ErrnoToStatus(
        error, absl::StrFormat("reserving %s for %s (make room, or choose a smaller size)",
                               HumanSize(bytes), path_));
  }
  bytes_ = bytes;
  return absl::OkStatus();
}

absl::Status DiskFile::MakePrivate() {
  if (fchmod(fd_.get(), 0600) != 0) return ErrnoStatus("making " + path_ + " private");
  return absl::OkStatus();
}

}  // namespace ebb
