// SPDX-License-Identifier: MIT
// What a VCPU has QEMU and the kernel do with guest memory.
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <span>

#include "tests/synthetic/vcpu.h"

namespace ebb::synthetic {
namespace {

constexpr size_t kMostDirectReadSlices = 16;
constexpr size_t kMostDirectWriteSlices = 4;
constexpr size_t kMostRingSlices = 4;

off_t OffsetOf(uint64_t sector) {
  return static_cast<off_t>(sector) * static_cast<off_t>(kSectorBytes);
}

std::vector<iovec> BuffersOf(const Slices& all, const std::vector<size_t>& slices) {
  std::vector<iovec> buffers;
  buffers.reserve(slices.size());
  for (const size_t slice : slices) buffers.push_back({all.data(slice), all.bytes(slice)});
  return buffers;
}

size_t BytesOf(const Slices& all, const std::vector<size_t>& slices) {
  size_t bytes = 0;
  for (const size_t slice : slices) bytes += all.bytes(slice);
  return bytes;
}

}  // namespace

void Vcpu::WriteFrom(size_t slice, int fd, bool is_pipe) {
  const size_t bytes = slices_.bytes(slice);
  const auto whole = static_cast<ssize_t>(bytes);
  const ssize_t written =
      is_pipe ? write(fd, slices_.data(slice), bytes) : pwrite(fd, slices_.data(slice), bytes, 0);
  if (written != whole) return parts_.mistakes->NoteFailed(name_ + ": write");
  const ssize_t copied =
      is_pipe ? read(pipe_read_.get(), buffer_.data(), bytes) : pread(fd, buffer_.data(), bytes, 0);
  if (copied != whole) return parts_.mistakes->NoteFailed(name_ + ": reading back");
  slices_.VerifyCopy(slice, std::span(buffer_).first(bytes / sizeof(uint64_t)),
                     is_pipe ? "write to a pipe" : "pwrite");
}

void Vcpu::ReadInto(size_t slice, int fd, bool is_pipe) {
  const size_t bytes = slices_.bytes(slice);
  const auto whole = static_cast<ssize_t>(bytes);
  const Stamp stamp = slices_.NextStamp(slice, ChooseKind());
  slices_.Compose(slice, stamp, std::span(buffer_).first(bytes / sizeof(uint64_t)));
  const ssize_t written =
      is_pipe ? write(fd, buffer_.data(), bytes) : pwrite(fd, buffer_.data(), bytes, 0);
  if (written != whole) return parts_.mistakes->NoteFailed(name_ + ": preparing a read");
  const ssize_t copied = is_pipe ? read(pipe_read_.get(), slices_.data(slice), bytes)
                                 : pread(fd, slices_.data(slice), bytes, 0);
  if (copied != whole) return parts_.mistakes->NoteFailed(name_ + ": read");
  slices_.Expect(slice, stamp);
}

std::vector<size_t> Vcpu::SlicesFor(size_t slice, size_t most, size_t alignment) {
  const size_t widest = std::max<size_t>(1, slices_.count() / most);
  const size_t stride = random_.Chance(90) ? 1 : 1 + random_.Below(widest);
  // A slice must not be in one request twice.
  const size_t wanted =
      std::min(random_.Chance(90) ? 1 + random_.Below(2) : 1 + random_.Below(most),
               slices_.count() / stride);
  std::vector<size_t> chosen;
  for (size_t i = 0; i < wanted; ++i) {
    const size_t next = (slice + i * stride) % slices_.count();
    if (slices_.bytes(next) % alignment == 0) chosen.push_back(next);
  }
  return chosen;
}

uint32_t Vcpu::ChooseSector(size_t bytes) {
  const uint64_t pages = (parts_.disk->sectors() - bytes / kSectorBytes) / kPageSectors;
  return static_cast<uint32_t>(random_.Below(pages) * kPageSectors);
}

void Vcpu::ExpectSectors(const std::vector<size_t>& slices, uint32_t first_sector) {
  for (const size_t slice : slices) {
    slices_.Expect(slice, slices_.NextStamp(slice, Stamp::Kind::kSectors, first_sector));
    first_sector += static_cast<uint32_t>(slices_.bytes(slice) / kSectorBytes);
    if (random_.Chance(30)) slices_.Verify(slice, "load after a direct read");
  }
}

// The slices were written into the file one after the other.
uint64_t Vcpu::VerifyWritten(const std::vector<size_t>& slices, int fd, const char* how) {
  off_t offset = 0;
  for (const size_t slice : slices) {
    const size_t bytes = slices_.bytes(slice);
    if (pread(fd, buffer_.data(), bytes, offset) != static_cast<ssize_t>(bytes)) {
      parts_.mistakes->NoteFailed(name_ + ": reading the file back");
      return 0;
    }
    slices_.VerifyCopy(slice, std::span(buffer_).first(bytes / sizeof(uint64_t)), how);
    offset += static_cast<off_t>(bytes);
  }
  return slices.size();
}

uint64_t Vcpu::DirectRead(size_t slice) {
  const std::vector<size_t> chosen = SlicesFor(slice, kMostDirectReadSlices, scratch_.alignment());
  const std::vector<iovec> buffers = BuffersOf(slices_, chosen);
  const size_t bytes = BytesOf(slices_, chosen);
  const uint32_t first = ChooseSector(bytes);
  {
    const InFlight::Request request(parts_.in_flight);
    if (preadv(parts_.disk->fd(), buffers.data(), static_cast<int>(buffers.size()),
               OffsetOf(first)) != static_cast<ssize_t>(bytes)) {
      parts_.mistakes->NoteFailed(name_ + ": direct read");
      return 0;
    }
  }
  ExpectSectors(chosen, first);
  return chosen.size();
}

uint64_t Vcpu::DirectWrite(size_t slice) {
  const std::vector<size_t> chosen = SlicesFor(slice, kMostDirectWriteSlices, scratch_.alignment());
  const std::vector<iovec> buffers = BuffersOf(slices_, chosen);
  {
    const InFlight::Request request(parts_.in_flight);
    if (pwritev(scratch_.fd(), buffers.data(), static_cast<int>(buffers.size()), 0) !=
        static_cast<ssize_t>(BytesOf(slices_, chosen))) {
      parts_.mistakes->NoteFailed(name_ + ": direct write");
      return 0;
    }
  }
  return VerifyWritten(chosen, scratch_.fd(), "direct write");
}

// One request for each slice, all under way at once.
bool Vcpu::RunRing(const std::vector<size_t>& slices, bool writes, int fd, uint32_t first_sector) {
  std::vector<Ring::Request> requests;
  off_t offset = OffsetOf(first_sector);
  for (const size_t slice : slices) {
    requests.push_back({.writes = writes,
                        .fd = fd,
                        .data = slices_.data(slice),
                        .bytes = slices_.bytes(slice),
                        .offset = offset,
                        .on_worker = random_.Chance(30)});
    offset += static_cast<off_t>(slices_.bytes(slice));
  }
  const InFlight::Request request(parts_.in_flight);
  if (ring_.Run(requests)) return true;
  parts_.mistakes->NoteFailed(name_ + ": io_uring");
  return false;
}

uint64_t Vcpu::RingWrite(size_t slice) {
  const std::vector<size_t> chosen = SlicesFor(slice, kMostRingSlices, 1);
  if (!RunRing(chosen, true, file_.get(), 0)) return 0;
  return VerifyWritten(chosen, file_.get(), "io_uring write");
}

uint64_t Vcpu::RingRead(size_t slice) {
  const std::vector<size_t> chosen = SlicesFor(slice, kMostRingSlices, 1);
  std::vector<Stamp> stamps;
  off_t offset = 0;
  for (const size_t next : chosen) {
    const size_t bytes = slices_.bytes(next);
    stamps.push_back(slices_.NextStamp(next, ChooseKind()));
    slices_.Compose(next, stamps.back(), std::span(buffer_).first(bytes / sizeof(uint64_t)));
    if (pwrite(file_.get(), buffer_.data(), bytes, offset) != static_cast<ssize_t>(bytes)) {
      parts_.mistakes->NoteFailed(name_ + ": preparing a read");
      return 0;
    }
    offset += static_cast<off_t>(bytes);
  }
  if (!RunRing(chosen, false, file_.get(), 0)) return 0;
  for (size_t i = 0; i < chosen.size(); ++i) slices_.Expect(chosen[i], stamps[i]);
  return chosen.size();
}

uint64_t Vcpu::RingDirectRead(size_t slice) {
  const std::vector<size_t> chosen = SlicesFor(slice, kMostDirectReadSlices, scratch_.alignment());
  const uint32_t first = ChooseSector(BytesOf(slices_, chosen));
  if (!RunRing(chosen, false, parts_.disk->fd(), first)) return 0;
  ExpectSectors(chosen, first);
  return chosen.size();
}

uint64_t Vcpu::RingDirectWrite(size_t slice) {
  const std::vector<size_t> chosen = SlicesFor(slice, kMostDirectWriteSlices, scratch_.alignment());
  if (!RunRing(chosen, true, scratch_.fd(), 0)) return 0;
  return VerifyWritten(chosen, scratch_.fd(), "io_uring direct write");
}

}  // namespace ebb::synthetic
