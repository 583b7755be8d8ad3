// SPDX-License-Identifier: MIT
#include "tests/bench/disk_figures.h"

#include <algorithm>
#include <array>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "hostd/base/clock.h"
#include "hostd/base/status_macros.h"
#include "hostd/tiers/disk/disk_tier.h"
#include "tests/bench/figure.h"
#include "tests/bench/swapped_guest.h"
#include "tests/hostd/tiers/disk/unnamed_disk.h"

namespace ebb::bench {
namespace {

// Swaps out each of the data's pages once, and writes it to the disk a batch at a time.
void FillDisk(SwappedGuest* guest) {
  std::array<uint32_t, SwappedGuest::kBatchPages> batch;
  for (uint64_t first = 0; first < guest->pages(); first += batch.size()) {
    const uint64_t count = std::min<uint64_t>(batch.size(), guest->pages() - first);
    for (uint64_t i = 0; i < count; ++i) batch[i] = static_cast<uint32_t>(first + i);
    guest->SwapOut({first}, {batch.data(), count});
    if (guest->pool_objects() >= Writeback::kBatchObjects) guest->WriteBackAll();
  }
  guest->WriteBackAll();
}

}  // namespace

absl::Status MeasureDisk(const PageData& data, uint64_t seed) {
  SayProgress("writing pages to a disk, and reading them back");
  const std::array<std::string, 2> folders = {".", "/var/tmp"};
  EBB_ASSIGN_OR_RETURN(std::unique_ptr<Disk> disk,
                       OpenUnnamedDisk(folders, kLeastDiskBytes + 2 * PagesToBytes(data.pages())));
  DiskTier tier("a disk of the bench", std::move(disk));
  EBB_ASSIGN_OR_RETURN(std::unique_ptr<SwappedGuest> guest,
                       SwappedGuest::Create(&data, data.pages(), &tier));
  FillDisk(guest.get());
  const auto pages = static_cast<double>(guest->disk_pages());
  if (pages == 0) return absl::InvalidArgumentError("the data has no page to be stored");
  SayFigure("disk_blocks_per_page", static_cast<double>(guest->disk_blocks()) / pages,
            "blocks/page");
  std::vector<uint64_t> order(guest->pages());
  for (uint64_t page = 0; page < order.size(); ++page) order[page] = page;
  std::shuffle(order.begin(), order.end(), std::mt19937_64(seed));
  for (const uint64_t page : order) guest->BringBack({page});
  SayFigure("disk_reads_per_page_in", static_cast<double>(tier.stats(MonotonicNs()).reads) / pages,
            "reads/page");
  return absl::OkStatus();
}

}  // namespace ebb::bench
