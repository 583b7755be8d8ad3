// SPDX-License-Identifier: MIT
#include "hostd/os/userfaultfd.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>

namespace ebb {
namespace {

constexpr uint64_t kFeatures = UFFD_FEATURE_MISSING_SHMEM | UFFD_FEATURE_WP_HUGETLBFS_SHMEM |
                               UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_EVENT_REMOVE;

FaultMessage Translate(const uffd_msg& message) {
  FaultMessage result;
  if (message.event == UFFD_EVENT_PAGEFAULT) {
    result.kind = (message.arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WP) != 0
                      ? FaultMessage::Kind::kWriteProtect
                      : FaultMessage::Kind::kMissing;
    result.hva.value = message.arg.pagefault.address & ~(kPageBytes - 1);
  } else if (message.event == UFFD_EVENT_REMOVE) {
    result.kind = FaultMessage::Kind::kRemove;
    result.hva.value = message.arg.remove.start;
    result.end.value = message.arg.remove.end;
  }
  return result;
}

}  // namespace

absl::Status Userfaultfd::EnableApi() {
  const int flags = fcntl(fd_.get(), F_GETFL);
  if (flags < 0 || (flags & O_NONBLOCK) == 0) {
    return absl::InvalidArgumentError("the userfaultfd is not non-blocking");
  }
  uffdio_api api = {};
  api.api = UFFD_API;
  api.features = kFeatures;
  if (ioctl(fd_.get(), UFFDIO_API, &api) != 0) {
    return ErrnoStatus("UFFDIO_API with shmem write-protection and remove events");
  }
  return absl::OkStatus();
}

OsResult Userfaultfd::Register(Hva hva, uint64_t bytes) {
  // Not MINOR: a page with a zapped PTE must stay a cheap soft fault (design, fact 1).
  uffdio_register arg = {};
  arg.range = {hva.value, bytes};
  arg.mode = UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_WP;
  return ioctl(fd_.get(), UFFDIO_REGISTER, &arg) == 0 ? OsResult::kDone : ResultFromErrno();
}

OsResult Userfaultfd::Unregister(Hva hva, uint64_t bytes) {
  uffdio_range arg = {hva.value, bytes};
  return ioctl(fd_.get(), UFFDIO_UNREGISTER, &arg) == 0 ? OsResult::kDone : ResultFromErrno();
}

OsResult Userfaultfd::SetWriteProtect(Hva hva, uint64_t bytes, bool protect) {
  uffdio_writeprotect arg = {};
  arg.range = {hva.value, bytes};
  arg.mode = protect ? UFFDIO_WRITEPROTECT_MODE_WP : 0;
  return ioctl(fd_.get(), UFFDIO_WRITEPROTECT, &arg) == 0 ? OsResult::kDone : ResultFromErrno();
}

OsResult Userfaultfd::Copy(Hva hva, const std::byte* page) {
  uffdio_copy arg = {};
  arg.dst = hva.value;
  arg.src = reinterpret_cast<uint64_t>(page);
  arg.len = kPageBytes;
  return ioctl(fd_.get(), UFFDIO_COPY, &arg) == 0 ? OsResult::kDone : ResultFromErrno();
}

OsResult Userfaultfd::ZeroPage(Hva hva, uint64_t bytes, uint64_t* filled_bytes) {
  *filled_bytes = 0;
  while (*filled_bytes < bytes) {
    uffdio_zeropage arg = {};
    arg.range = {hva.value + *filled_bytes, bytes - *filled_bytes};
    if (ioctl(fd_.get(), UFFDIO_ZEROPAGE, &arg) == 0) {
      *filled_bytes = bytes;
      return OsResult::kDone;
    }
    const OsResult result = ResultFromErrno();
    // A short fill says EAGAIN and how far it came; going on there gives the real reason.
    if (result != OsResult::kRetry || arg.zeropage <= 0) return result;
    *filled_bytes += static_cast<uint64_t>(arg.zeropage);
  }
  return OsResult::kDone;
}

OsResult Userfaultfd::Wake(Hva hva, uint64_t bytes) {
  uffdio_range arg = {hva.value, bytes};
  return ioctl(fd_.get(), UFFDIO_WAKE, &arg) == 0 ? OsResult::kDone : ResultFromErrno();
}

OsResult Userfaultfd::Read(std::span<FaultMessage> messages, size_t* count) {
  *count = 0;
  std::array<uffd_msg, 32> raw;
  const size_t wanted = std::min(messages.size(), raw.size());
  // style-ok(wait): EnableApi has checked that it does not block
  const ssize_t bytes = read(fd_.get(), raw.data(), wanted * sizeof(uffd_msg));
  if (bytes < 0) return ResultFromErrno();
  if (bytes == 0) return OsResult::kGone;
  *count = static_cast<size_t>(bytes) / sizeof(uffd_msg);
  std::transform(raw.begin(), raw.begin() + static_cast<ptrdiff_t>(*count), messages.begin(),
                 Translate);
  return OsResult::kDone;
}

}  // namespace ebb
