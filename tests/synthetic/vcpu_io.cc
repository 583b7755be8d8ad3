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

off_t OffsetOf(uint64_t sector) {
  return static_cast<off_t>(sector) * static_cast<off_t>(kSectorBytes);
}

std::vector<iovec> BuffersOf(const Slices& all, const std::vector<size_t>& slices) {
  std::vector<iovec> buffers;
  buffers.reserve(slices.size());
  for (const size_t slice : slices) buffers.push_back({all.data(slice), all.bytes(slice)});
  return buffers;
}

size_t BytesOf(const std::vector<iovec>& buffers) {
  size_t bytes = 0;
  for (const iovec& buffer : buffers) bytes += buffer.iov_len;
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

std::vector<size_t> Vcpu::SlicesForDirect(size_t slice, size_t most) {
  const size_t wanted = random_.Chance(90) ? 1 + random_.Below(2) : 1 + random_.Below(most);
  const size_t stride = random_.Chance(90) ? 1 : 1 + random_.Below(slices_.count() / most - 1);
  std::vector<size_t> chosen;
  for (size_t i = 0; i < wanted; ++i) {
    const size_t next = (slice + i * stride) % slices_.count();
    if (slices_.bytes(next) % scratch_.alignment() == 0) chosen.push_back(next);
  }
  return chosen;
}

uint64_t Vcpu::DirectRead(size_t slice) {
  const std::vector<size_t> chosen = SlicesForDirect(slice, kMostDirectReadSlices);
  const std::vector<iovec> buffers = BuffersOf(slices_, chosen);
  const size_t bytes = BytesOf(buffers);
  constexpr uint32_t kPageSectors = kPageBytes / kSectorBytes;
  const uint64_t pages = (parts_.disk->sectors() - bytes / kSectorBytes) / kPageSectors;
  const auto first = static_cast<uint32_t>(random_.Below(pages) * kPageSectors);
  {
    const InFlight::Request request(parts_.in_flight);
    if (preadv(parts_.disk->fd(), buffers.data(), static_cast<int>(buffers.size()),
               OffsetOf(first)) != static_cast<ssize_t>(bytes)) {
      parts_.mistakes->NoteFailed(name_ + ": direct read");
      return 0;
    }
  }
  uint32_t sector = first;
  for (const size_t read : chosen) {
    slices_.Expect(read, slices_.NextStamp(read, Stamp::Kind::kSectors, sector));
    sector += static_cast<uint32_t>(slices_.bytes(read) / kSectorBytes);
    if (random_.Chance(30)) slices_.Verify(read, "load after a direct read");
  }
  return chosen.size();
}

uint64_t Vcpu::DirectWrite(size_t slice) {
  const std::vector<size_t> chosen = SlicesForDirect(slice, kMostDirectWriteSlices);
  const std::vector<iovec> buffers = BuffersOf(slices_, chosen);
  {
    const InFlight::Request request(parts_.in_flight);
    if (pwritev(scratch_.fd(), buffers.data(), static_cast<int>(buffers.size()), 0) !=
        static_cast<ssize_t>(BytesOf(buffers))) {
      parts_.mistakes->NoteFailed(name_ + ": direct write");
      return 0;
    }
  }
  off_t offset = 0;
  for (const size_t written : chosen) {
    const size_t bytes = slices_.bytes(written);
    if (pread(scratch_.fd(), buffer_.data(), bytes, offset) != static_cast<ssize_t>(bytes)) {
      parts_.mistakes->NoteFailed(name_ + ": reading the disk back");
      return 0;
    }
    slices_.VerifyCopy(written, std::span(buffer_).first(bytes / sizeof(uint64_t)), "direct write");
    offset += static_cast<off_t>(bytes);
  }
  return chosen.size();
}

}  // namespace ebb::synthetic
