// SPDX-License-Identifier: MIT
#include "hostd/os/qemu_memory.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <utility>

#include "absl/strings/str_format.h"
#include "hostd/base/wait_checks.h"
#include "hostd/os/process_view.h"

namespace ebb {
namespace {

// /proc/PID/pagemap, Documentation/admin-guide/mm/pagemap.rst.
constexpr uint64_t kPagemapPresent = uint64_t{1} << 63;
constexpr uint64_t kPagemapUffdWp = uint64_t{1} << 57;

}  // namespace

absl::StatusOr<std::unique_ptr<QemuMemory>> QemuMemory::Open(Handles handles, RamLayout layout) {
  MayWait("for /proc");
  UniqueFd pagemap(
      open(absl::StrFormat("/proc/%d/pagemap", handles.pid).c_str(), O_RDONLY | O_CLOEXEC));
  if (!pagemap.valid()) return ErrnoStatus("opening QEMU's pagemap");
  std::unique_ptr<QemuMemory> memory(
      new QemuMemory(std::move(handles), std::move(pagemap), std::move(layout)));
  if (absl::Status status = memory->userfaultfd_.EnableApi(); !status.ok()) return status;
  if (absl::Status status = memory->CheckReachesProcess(); !status.ok()) return status;
  return memory;
}

// A userfaultfd works on the memory of the process that made it, which nothing tells: protect a
// page, and see whether that shows in the page table of ours.
absl::Status QemuMemory::CheckReachesProcess() {
  const PageRange page = {{0}, 1};
  const auto foreign = [] {
    return absl::InvalidArgumentError("another process made the userfaultfd");
  };
  if (Register(page) != OsResult::kDone) return foreign();
  std::array<PteState, 1> pte = {};
  OsResult result = WriteProtect(page);
  if (result == OsResult::kDone) {
    result = ReadPtes(page, pte);
    Unprotect(page.first);
  }
  Unregister(page);  // and wakes whoever touched it meanwhile
  if (result == OsResult::kRetry) {
    return absl::UnavailableError("the memory map of the process is changing; try again");
  }
  return result == OsResult::kDone && pte[0].write_protected ? absl::OkStatus() : foreign();
}

QemuMemory::QemuMemory(Handles handles, UniqueFd pagemap, RamLayout layout)
    : layout_(std::move(layout)),
      userfaultfd_(std::move(handles.userfaultfd)),
      memfds_(std::move(handles.memfds)),
      pidfd_(std::move(handles.pidfd)),
      pagemap_(std::move(pagemap)),
      pid_(handles.pid) {}

OsResult QemuMemory::Register(PageRange run) {
  return userfaultfd_.Register(layout_.Find(run.first).hva(), PagesToBytes(run.count));
}

OsResult QemuMemory::Unregister(PageRange run) {
  return userfaultfd_.Unregister(layout_.Find(run.first).hva(), PagesToBytes(run.count));
}

OsResult QemuMemory::FindUnmapped(std::vector<PageRange>* unmapped) {
  const absl::StatusOr<std::vector<Vma>> vmas = MemoryMap(pid_);
  if (!vmas.ok()) return absl::IsNotFound(vmas.status()) ? OsResult::kGone : OsResult::kFailed;
  PageIndex first = {0};
  for (const RamMapping& mapping : layout_.mappings()) {
    struct stat info;
    if (fstat(memfds_[mapping.memfd].get(), &info) != 0) return ResultFromErrno();
    if (!IsMapped(*vmas, mapping, {info.st_dev, info.st_ino})) {
      unmapped->push_back({first, mapping.pages});
    }
    first = first + mapping.pages;
  }
  return OsResult::kDone;
}

OsResult QemuMemory::Unprotect(PageIndex page) {
  return userfaultfd_.SetWriteProtect(layout_.Find(page).hva(), kPageBytes, false);
}

OsResult QemuMemory::Fill(PageIndex page, const std::byte* content) {
  return userfaultfd_.Copy(layout_.Find(page).hva(), content);
}

OsResult QemuMemory::FillZero(PageRange run, uint64_t* filled_pages) {
  uint64_t filled_bytes = 0;
  const OsResult result =
      userfaultfd_.ZeroPage(layout_.Find(run.first).hva(), PagesToBytes(run.count), &filled_bytes);
  *filled_pages = BytesToPages(filled_bytes);
  return result;
}

OsResult QemuMemory::WriteProtect(PageRange run) {
  return userfaultfd_.SetWriteProtect(layout_.Find(run.first).hva(), PagesToBytes(run.count), true);
}

OsResult QemuMemory::Wake(PageRange run) {
  return userfaultfd_.Wake(layout_.Find(run.first).hva(), PagesToBytes(run.count));
}

OsResult QemuMemory::ZapPtes(PageRange run) {
  const iovec range = {reinterpret_cast<void*>(layout_.Find(run.first).hva().value),
                       PagesToBytes(run.count)};
  const long done = syscall(SYS_process_madvise, pidfd_.get(), &range, 1UL, MADV_PAGEOUT, 0U);
  return done >= 0 ? OsResult::kDone : ResultFromErrno();
}

OsResult QemuMemory::ReadPtes(PageRange run, std::span<PteState> states) {
  const uint64_t first = layout_.Find(run.first).hva().value / kPageBytes;
  std::array<uint64_t, 512> raw;
  for (uint64_t done = 0; done < run.count;) {
    const uint64_t count = std::min<uint64_t>(raw.size(), run.count - done);
    // style-ok(wait): one of the operations on pages
    const ssize_t bytes = pread(pagemap_.get(), raw.data(), count * sizeof(uint64_t),
                                static_cast<off_t>((first + done) * sizeof(uint64_t)));
    // pagemap reads nothing once QEMU's memory map is gone.
    if (bytes == 0) return OsResult::kGone;
    if (bytes < 0) return ResultFromErrno();
    const uint64_t entries = static_cast<uint64_t>(bytes) / sizeof(uint64_t);
    for (uint64_t i = 0; i < entries; ++i) {
      states[done + i] = {(raw[i] & kPagemapPresent) != 0, (raw[i] & kPagemapUffdWp) != 0};
    }
    done += entries;
  }
  return OsResult::kDone;
}

OsResult QemuMemory::Read(PageIndex page, std::byte* content) {
  const RamLayout::Place place = layout_.Find(page);
  // style-ok(wait): one of the operations on pages
  const ssize_t bytes = pread(memfds_[place.mapping->memfd].get(), content, kPageBytes,
                              static_cast<off_t>(place.file_offset()));
  if (bytes == static_cast<ssize_t>(kPageBytes)) return OsResult::kDone;
  return bytes < 0 ? ResultFromErrno() : OsResult::kFailed;
}

OsResult QemuMemory::Punch(PageRange run) {
  const RamLayout::Place place = layout_.Find(run.first);
  // style-ok(wait): one of the operations on pages
  return fallocate(memfds_[place.mapping->memfd].get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                   static_cast<off_t>(place.file_offset()),
                   static_cast<off_t>(PagesToBytes(run.count))) == 0
             ? OsResult::kDone
             : ResultFromErrno();
}

PageRange QemuMemory::NextPresent(PageRange range) {
  while (range.count > 0) {
    const PageRange run = layout_.FirstRun(range);
    const RamLayout::Place place = layout_.Find(run.first);
    const int fd = memfds_[place.mapping->memfd].get();
    const auto start = static_cast<off_t>(place.file_offset());
    const auto end = start + static_cast<off_t>(PagesToBytes(run.count));
    const off_t data = lseek(fd, start, SEEK_DATA);
    if (data >= 0 && data < end) {
      const off_t hole = std::min(end, lseek(fd, data, SEEK_HOLE));
      if (hole > data) {
        return {run.first + BytesToPages(static_cast<uint64_t>(data - start)),
                BytesToPages(static_cast<uint64_t>(hole - data))};
      }
    }
    range = {run.end(), range.count - run.count};
  }
  return {range.first, 0};
}

uint64_t QemuMemory::ResidentPages() {
  uint64_t pages = 0;
  for (const UniqueFd& memfd : memfds_) {
    struct stat info;
    constexpr uint64_t kBlockBytes = 512;  // unit of st_blocks, stat(2)
    if (fstat(memfd.get(), &info) == 0) {
      pages += BytesToPages(static_cast<uint64_t>(info.st_blocks) * kBlockBytes);
    }
  }
  return pages;
}

OsResult QemuMemory::ReadMessages(std::span<GuestMessage> messages, size_t* count) {
  std::array<FaultMessage, 32> raw;
  const OsResult result =
      userfaultfd_.Read(std::span(raw).first(std::min(raw.size(), messages.size())), count);
  for (size_t i = 0; i < *count; ++i) messages[i] = Translate(raw[i]);
  return result;
}

GuestMessage QemuMemory::Translate(const FaultMessage& message) const {
  const std::optional<PageIndex> page = layout_.PageAt(message.hva);
  if (!page) return {};
  if (message.kind != FaultMessage::Kind::kRemove) return {message.kind, {*page, 1}};
  // One event covers one mapping: madvise splits at mappings, and ours are each one VMA or more.
  const uint64_t bytes = message.end.value - message.hva.value;
  return {message.kind, layout_.FirstRun({*page, BytesToPages(bytes)})};
}

}  // namespace ebb
