// SPDX-License-Identifier: MIT
#include "tests/guest/disk_part.h"

#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <thread>

namespace ebb::guest {
namespace {

constexpr uint64_t kPagesPerChunk = BytesToPages(DiskPart::kChunkBytes);

// Far from every page of the memory part.
constexpr uint64_t kFirstAddress = uint64_t{1} << 40;

off_t ChunkOffset(uint64_t chunk) { return static_cast<off_t>(chunk * DiskPart::kChunkBytes); }

// The device shows up a moment after its driver is loaded.
UniqueFd OpenDevice(const std::string& device) {
  for (int tenths = 0; tenths < 100; ++tenths) {
    UniqueFd fd(open(device.c_str(), O_RDWR | O_CLOEXEC));
    if (fd.valid()) return fd;
    // style-ok(sleep): polls with a deadline; devtmpfs announces nothing
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  FailErrno(device);
}

}  // namespace

DiskPart::DiskPart(std::string device, uint64_t seed, uint64_t chunks, Progress& progress)
    : device_name_(std::move(device)),
      seed_(seed),
      chunks_(chunks),
      progress_(progress),
      device_(OpenDevice(device_name_)),
      versions_(chunks * kPagesPerChunk),
      chunk_bytes_(kChunkBytes) {}

PageId DiskPart::Id(uint64_t page) const {
  return {.seed = seed_, .address = kFirstAddress + PagesToBytes(page), .version = versions_[page]};
}

std::byte* DiskPart::At(uint64_t page) {
  return chunk_bytes_.data() + PagesToBytes(page % kPagesPerChunk);
}

void DiskPart::Fill(Pace& pace) {
  for (uint64_t chunk = 0; chunk < chunks_; ++chunk) {
    const uint64_t first = chunk * kPagesPerChunk;
    for (uint64_t page = first; page < first + kPagesPerChunk; ++page) FillPage(Id(page), At(page));
    WriteChunk(chunk);
    Sync();
    progress_.filled_bytes += kChunkBytes;
    pace.Spend(kPagesPerChunk);
  }
}

void DiskPart::Sweep(uint64_t every, uint64_t remainder, Pace& pace) {
  for (uint64_t chunk = 0; chunk < chunks_; ++chunk) {
    VerifyChunk(chunk, device_name_ + "_cached");
    RewriteChunk(chunk, every, remainder);
    DropChunk(chunk);
    // Here, so that a disk that begins to stall is mostly about to be read.
    pace.Spend(2 * kPagesPerChunk);
    VerifyChunk(chunk, device_name_);
  }
}

void DiskPart::WriteChunk(uint64_t chunk) {
  if (pwrite(device_.get(), chunk_bytes_.data(), kChunkBytes, ChunkOffset(chunk)) !=
      static_cast<ssize_t>(kChunkBytes)) {
    FailErrno("cannot write to the disk");
  }
}

void DiskPart::VerifyChunk(uint64_t chunk, const std::string& part) {
  if (pread(device_.get(), chunk_bytes_.data(), kChunkBytes, ChunkOffset(chunk)) !=
      static_cast<ssize_t>(kChunkBytes)) {
    FailErrno("cannot read from the disk");
  }
  const uint64_t first = chunk * kPagesPerChunk;
  for (uint64_t page = first; page < first + kPagesPerChunk; ++page) {
    CheckPage(Id(page), At(page), part.c_str(), progress_);
  }
}

void DiskPart::RewriteChunk(uint64_t chunk, uint64_t every, uint64_t remainder) {
  const uint64_t first = chunk * kPagesPerChunk;
  for (uint64_t page = first; page < first + kPagesPerChunk; ++page) {
    if (page % every != remainder) continue;
    ++versions_[page];
    FillPage(Id(page), At(page));
    const auto offset = static_cast<off_t>(PagesToBytes(page));
    if (pwrite(device_.get(), At(page), kPageBytes, offset) != static_cast<ssize_t>(kPageBytes)) {
      FailErrno("cannot rewrite a page of the disk");
    }
  }
}

// Only clean pages can be dropped, so what was rewritten goes to the disk first.
void DiskPart::DropChunk(uint64_t chunk) {
  Sync();
  const int error = posix_fadvise(device_.get(), ChunkOffset(chunk),
                                  static_cast<off_t>(kChunkBytes), POSIX_FADV_DONTNEED);
  if (error != 0) Fail("cannot drop the disk's page cache");
}

void DiskPart::Sync() {
  if (fdatasync(device_.get()) != 0) FailErrno("cannot sync the disk");
}

}  // namespace ebb::guest
