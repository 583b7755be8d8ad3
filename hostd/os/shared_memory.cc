// SPDX-License-Identifier: MIT
#include "hostd/os/shared_memory.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <utility>

#include "absl/strings/str_format.h"
#include "hostd/base/units.h"
#include "hostd/base/wait_checks.h"
#include "hostd/os/os_result.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23  // Linux 5.14; Debian 12's headers have it, older ones do not
#endif

namespace ebb {

absl::StatusOr<SharedMemory> SharedMemory::Create(const char* name, uint64_t bytes) {
  bytes = (bytes + kPageBytes - 1) & ~(kPageBytes - 1);
  UniqueFd fd(memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd.valid()) return ErrnoStatus("memfd_create");
  // 0600: with the default mode an unprivileged holder could re-open it for writing.
  if (fchmod(fd.get(), 0600) != 0 || ftruncate(fd.get(), static_cast<off_t>(bytes)) != 0 ||
      fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    return ErrnoStatus("setting up a state memfd");
  }
  void* data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  if (data == MAP_FAILED) return ErrnoStatus("mapping a state memfd");
  return SharedMemory(std::move(fd), static_cast<std::byte*>(data), bytes);
}

SharedMemory::SharedMemory(SharedMemory&& other) noexcept
    : fd_(std::move(other.fd_)),
      data_(std::exchange(other.data_, nullptr)),
      bytes_(std::exchange(other.bytes_, 0)) {}

SharedMemory::~SharedMemory() {
  if (data_ != nullptr) munmap(data_, bytes_);
}

bool SharedMemory::Populate(uint64_t offset, uint64_t bytes) {
  MayWait("for memory of the host");
  return madvise(data_ + offset, bytes, MADV_POPULATE_WRITE) == 0;
}

void SharedMemory::Free(uint64_t offset, uint64_t bytes) {
  MayWait("for the kernel to free memory");
  fallocate(fd_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
            static_cast<off_t>(bytes));
}

uint64_t SharedMemory::allocated_bytes() const {
  struct stat info;
  constexpr uint64_t kBlockBytes = 512;  // unit of st_blocks, stat(2)
  return fstat(fd_.get(), &info) == 0 ? static_cast<uint64_t>(info.st_blocks) * kBlockBytes : 0;
}

absl::StatusOr<UniqueFd> SharedMemory::OpenReadOnly() const {
  MayWait("for /proc");
  UniqueFd fd(open(absl::StrFormat("/proc/self/fd/%d", fd_.get()).c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return ErrnoStatus("re-opening a state memfd read-only");
  return fd;
}

}  // namespace ebb
