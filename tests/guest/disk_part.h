// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "hostd/base/unique_fd.h"
#include "tests/guest/content.h"
#include "tests/guest/pace.h"
#include "tests/guest/report.h"

namespace ebb::guest {

// The start of a block device, used through the guest's page cache. Every sweep makes the disk
// write into guest memory by DMA, past the guest's page tables: the way a page is lost most easily.
class DiskPart {
 public:
  DiskPart(std::string device, uint64_t seed, uint64_t chunks, Progress& progress);

  static constexpr uint64_t kChunkBytes = kMiB;

  void Fill(Pace& pace);

  // Chunk by chunk: verifies what the page cache holds, rewrites the pages with
  // page % every == remainder, writes them to the disk, drops the chunk from the page cache, and
  // verifies it again as the disk gives it back. The rest of the disk stays in the page cache.
  void Sweep(uint64_t every, uint64_t remainder, Pace& pace);

 private:
  PageId Id(uint64_t page) const;
  std::byte* At(uint64_t page);
  void WriteChunk(uint64_t chunk);
  void VerifyChunk(uint64_t chunk, const std::string& part);
  void RewriteChunk(uint64_t chunk, uint64_t every, uint64_t remainder);
  void DropChunk(uint64_t chunk);
  // After every chunk: a hundred MiB of writes in flight would make an I/O barrier last seconds.
  void Sync();

  const std::string device_name_;
  const uint64_t seed_;
  const uint64_t chunks_;
  Progress& progress_;
  UniqueFd device_;
  std::vector<uint32_t> versions_;
  std::vector<std::byte> chunk_bytes_;  // what a chunk is read into and written from
};

}  // namespace ebb::guest
